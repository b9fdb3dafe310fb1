"""Whether answers depend on what a text is sent with."""

from __future__ import annotations

import numpy as np
import pytest

from ftx.plugins import PluginManager
from ftx_plugins.checkpoint import load_checkpoint
from ftx_plugins.evaluate.candidates import Candidate, InBundle, InTorch
from ftx_plugins.evaluate.evaluate import run_validation
from ftx_plugins.evaluate.hooks import EvaluateConfig
from ftx_plugins.evaluate.invariance import measure_invariance
from ftx_serving.decoding import SingleLabel
from ftx_serving.predictor import Predictor


class Gregarious:
    """Says "crowd" of a text that is sent with others, and nothing but "lone" of one alone."""

    padding_side = "right"

    def one_batch(self, texts, pairs, side, length=None):
        crowd = float(len(texts) > 1)
        return np.tile(np.array([[1 - crowd, crowd]], dtype=np.float32), (len(texts), 1))

    def lengths(self, texts, pairs):
        return np.array([len(text.split()) for text in texts])


def candidate(model):
    labels = ("lone", "crowd")
    return Candidate("any", labels, model, True, False, None, SingleLabel(labels), "text-classification")


def test_a_model_that_looks_at_its_batch_is_found_out():
    found = measure_invariance(candidate(Gregarious()), ["a", "b c", "d"], None, batch_size=2, seed=0)
    # Three texts in batches of two: in each dealing one of them is alone again.
    assert [deviation.flips for deviation in found.random_batches] == [2, 2, 2]
    assert {deviation.spread for deviation in found.random_batches} == {1.0}
    assert (found.padded_right.flips, found.padded_left.flips, found.repeated_spread) == (0, 0, 0)
    assert found.dependent >= 2
    assert found.batch_flip_rate == found.dependent / 3


@pytest.fixture
def in_bundle(tiny_bundle):
    runtimes = PluginManager.load(third_party=False).runtimes()
    return lambda name: InBundle(Predictor.load(tiny_bundle.path, runtimes=runtimes, variant=name))


def test_fp32_depends_on_no_neighbour_where_dynamic_int8_does(in_bundle, make_sentences):
    texts = [text for text, _ in make_sentences(24, seed=7)]
    exact = measure_invariance(candidate(in_bundle("onnx-fp32")), texts, None, batch_size=8, seed=0)
    dynamic = measure_invariance(candidate(in_bundle("onnx-int8")), texts, None, batch_size=8, seed=0)
    assert exact.dependent == 0
    assert max(deviation.spread for deviation in exact.random_batches) < 1e-4
    assert max(deviation.spread for deviation in dynamic.random_batches) > 1e-3


def test_padding_on_the_right_changes_nothing_and_on_the_left_a_bert_counts_positions_anew(
    tiny_classifier, in_bundle, make_sentences
):
    texts = [text for text, _ in make_sentences(12, seed=7)]
    for model in (InTorch(load_checkpoint(tiny_classifier)), in_bundle("onnx-fp32")):
        found = measure_invariance(candidate(model), texts, None, batch_size=8, seed=0)
        assert found.padded_right.spread < 1e-4
        assert found.padded_left.spread > 1e-3
        assert found.dependent == 0


def test_both_ways_to_call_a_model_agree(tiny_classifier, in_bundle, make_sentences):
    texts = [text for text, _ in make_sentences(5, seed=3)]
    torch, bundle = InTorch(load_checkpoint(tiny_classifier)), in_bundle("onnx-fp32")
    assert torch.lengths(texts, None).tolist() == bundle.lengths(texts, None).tolist()
    for side, length in (("left", 40), ("right", None)):
        expected = torch.one_batch(texts, None, side, length)
        assert np.abs(bundle.one_batch(texts, None, side, length) - expected).max() < 1e-4


def test_an_evaluation_says_of_each_variant_whether_it_is_batch_invariant(tiny_bundle, tiny_dataset, make_context):
    config = EvaluateConfig(latency_rows=20, throughput_rows=32, invariance_rows=16)
    inputs = {"model": tiny_bundle, "data": tiny_dataset}
    models = run_validation(config, inputs, make_context("evaluate:validation"))["models"]
    invariant = {model["variant"]: model["batch_invariant"] for model in models}
    assert invariant == {
        "onnx-int8": False,
        "torchscript-int8": False,
        "onnx-fp32": True,
        "torchscript-fp32": True,
    }
    assert all(model["invariance"]["rows"] == 16 for model in models)
    assert all("against_reference" not in model for model in models)  # there is none
