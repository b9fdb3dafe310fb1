from __future__ import annotations

import pytest

from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.head import load_classifier
from ftx_plugins.train.trainer import _groups_by_depth


def test_each_layer_learns_at_a_fraction_of_the_one_above(tiny_encoder):
    model, _ = load_classifier(tiny_encoder, ["a", "b"], dropout=0.0, new_head=False)
    config = TrainConfig(learning_rate=1e-3, layer_decay=0.5)
    groups = _groups_by_depth(model, set(), config)
    rate_of = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    rates = {name: rate_of[id(parameter)] for name, parameter in model.named_parameters()}
    assert rates["classifier.weight"] == pytest.approx(1e-3)
    assert rates["bert.encoder.layer.1.output.dense.weight"] == pytest.approx(5e-4)
    assert rates["bert.encoder.layer.0.output.dense.weight"] == pytest.approx(2.5e-4)
    assert rates["bert.embeddings.word_embeddings.weight"] == pytest.approx(1.25e-4)
    assert len(rate_of) == len(rates)
