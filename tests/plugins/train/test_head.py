from __future__ import annotations

import json
import shutil

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, BertModel

from ftx import FtxError
from ftx_plugins.train.freeze import encoder_layers, unfreeze_last
from ftx_plugins.train.head import head_modules, load_classifier

LABELS = ("negative", "neutral", "positive")
SMALL = {"vocab_size": 50, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16}
FAMILIES = {
    "bert": {**SMALL, "intermediate_size": 32},
    "roberta": {**SMALL, "intermediate_size": 32},
    "electra": {**SMALL, "intermediate_size": 32, "embedding_size": 16},
    "modernbert": {**SMALL, "intermediate_size": 32, "pad_token_id": 0, "global_attn_every_n_layers": 1},
    "distilbert": {"vocab_size": 50, "n_layers": 2, "n_heads": 2, "dim": 16, "hidden_dim": 32},
}


@pytest.fixture
def classifier(tiny_classifier, tmp_path):
    """`classifier(labels)`: a copy of the tiny classifier whose head has these names."""

    def make(*labels):
        folder = tmp_path / "classifier"
        shutil.copytree(tiny_classifier, folder)
        config = json.loads((folder / "config.json").read_text())
        config["id2label"] = {str(place): label for place, label in enumerate(labels)}
        config["label2id"] = {label: place for place, label in enumerate(labels)}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


def test_a_generic_head_takes_the_names_of_the_data(classifier):
    model, head = load_classifier(classifier("LABEL_0", "LABEL_1", "LABEL_2"), LABELS, dropout=0.3, new_head=False)
    assert head.labels == LABELS
    assert not head.is_new
    assert model.config.id2label == dict(enumerate(LABELS))


def test_equal_sets_of_names_keep_the_order_of_the_head(classifier):
    order = ("positive", "negative", "neutral")
    _, head = load_classifier(classifier(*order), LABELS, dropout=0.3, new_head=False)
    assert head.labels == order


@pytest.mark.parametrize("labels", [("a", "b", "c"), ("negative", "positive", "other")])
def test_other_names_are_an_error_that_names_the_way_out(classifier, labels):
    with pytest.raises(FtxError, match="not those of the model's head") as caught:
        load_classifier(classifier(*labels), LABELS, dropout=0.3, new_head=False)
    assert "train.new_head = true" in str(caught.value)


def test_another_count_of_generic_names_is_an_error_and_a_new_head_on_demand(tiny_classifier):
    names = ("a", "b")
    with pytest.raises(FtxError, match="has 2"):
        load_classifier(tiny_classifier, names, dropout=0.3, new_head=False)
    model, head = load_classifier(tiny_classifier, names, dropout=0.3, new_head=True)
    assert head.is_new
    assert model.config.num_labels == 2
    assert model(input_ids=torch.tensor([[2, 3]])).logits.shape == (1, 2)


def test_a_new_head_of_the_old_size_has_new_weights(tiny_classifier):
    old = AutoModelForSequenceClassification.from_pretrained(tiny_classifier).classifier.weight
    model, _ = load_classifier(tiny_classifier, ("x", "y", "z"), dropout=0.3, new_head=True)
    assert not torch.equal(model.classifier.weight, old)


def test_an_encoder_that_lacks_weights_is_an_error(tiny_encoder, tmp_path):
    folder = tmp_path / "lacking"
    shutil.copytree(tiny_encoder, folder)
    model = BertModel.from_pretrained(tiny_encoder)
    state = {name: value for name, value in model.state_dict().items() if "layer.1.attention" not in name}
    model.save_pretrained(folder, state_dict=state)
    with pytest.raises(FtxError, match="lacks"):
        load_classifier(folder, LABELS, dropout=0.3, new_head=False)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_dropout_of_the_head_alone_is_set_and_survives_saving(family, tmp_path):
    config = AutoConfig.for_model(family, architectures=["x"], **FAMILIES[family])
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).base_model.save_pretrained(tmp_path / "encoder")
    model, _ = load_classifier(tmp_path / "encoder", LABELS, dropout=0.37, new_head=False)
    found = [module.p for module in head_modules(model) if isinstance(module, nn.Dropout)]
    assert found
    assert set(found) == {0.37}
    assert 0.37 not in [module.p for module in model.base_model.modules() if isinstance(module, nn.Dropout)]
    model.save_pretrained(tmp_path / "saved")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert {module.p for module in head_modules(again) if isinstance(module, nn.Dropout)} == {0.37}


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_last_layer_and_the_head_train(family):
    config = AutoConfig.for_model(family, **FAMILIES[family])
    model = AutoModelForSequenceClassification.from_config(config)
    assert unfreeze_last(model, 1) > 0
    first, last = encoder_layers(model)
    assert not any(parameter.requires_grad for parameter in first.parameters())
    assert all(parameter.requires_grad for parameter in last.parameters())
    assert all(parameter.requires_grad for module in head_modules(model) for parameter in module.parameters())
    assert not model.get_input_embeddings().weight.requires_grad
