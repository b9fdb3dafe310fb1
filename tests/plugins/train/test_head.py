from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
)

from ftx import FtxError
from ftx_plugins.train.freeze import unfreeze_last
from ftx_plugins.train.head import head_modules, is_head_parameter, load_classifier

NAMES = ("positive", "negative", "neutral")
SMALL: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
}


def encoder(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    if family == "distilbert":
        return DistilBertModel(
            DistilBertConfig(vocab_size=40, dim=16, hidden_dim=24, n_layers=3, n_heads=2, max_position_embeddings=32)
        )
    config, model = {
        "bert": (BertConfig, BertModel),
        "roberta": (RobertaConfig, RobertaModel),
        "electra": (ElectraConfig, ElectraModel),
        "modernbert": (ModernBertConfig, ModernBertModel),
    }[family]
    return model(config(**SMALL))


FAMILIES = ("bert", "roberta", "distilbert", "electra", "modernbert")


@pytest.fixture(params=FAMILIES)
def family_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / request.param
    encoder(request.param).save_pretrained(folder)
    return folder


def load(folder: Path, names: tuple[str, ...] = NAMES, *, new_head: bool = False, dropout: float = 0.3) -> Any:
    torch.manual_seed(1)
    return load_classifier(folder, names, dropout=dropout, new_head=new_head)


def edit_config(source: Path, folder: Path, **values: Any) -> Path:
    shutil.copytree(source, folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


def test_an_encoder_gets_a_head_of_the_datas_labels(family_folder: Path) -> None:
    model, head = load(family_folder)
    assert head.is_new
    assert head.labels == NAMES
    assert model.config.id2label == dict(enumerate(NAMES))
    assert model(input_ids=torch.tensor([[1, 2, 3]])).logits.shape == (1, 3)


def test_dropout_is_set_on_the_head_alone(family_folder: Path) -> None:
    model, _ = load(family_folder, dropout=0.45)
    in_head = {id(module) for module in head_modules(model) if isinstance(module, nn.Dropout)}
    rates = {id(module): module.p for module in model.modules() if isinstance(module, nn.Dropout)}
    assert in_head
    assert {rates[module] for module in in_head} == {0.45}
    assert all(rate != 0.45 for module, rate in rates.items() if module not in in_head)


def test_the_saved_model_loads_as_a_stock_one_with_the_same_dropout(family_folder: Path, tmp_path: Path) -> None:
    model, _ = load(family_folder, dropout=0.45)
    model.eval().save_pretrained(tmp_path / "saved")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    ids = torch.tensor([[1, 5, 7, 3]])
    assert torch.allclose(model(input_ids=ids).logits, again(input_ids=ids).logits, atol=1e-6)
    assert {module.p for module in head_modules(again) if isinstance(module, nn.Dropout)} == {0.45}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_only_the_last_layers_and_the_head_train(family_folder: Path, count: int) -> None:
    model, _ = load(family_folder)
    assert unfreeze_last(model, count) > 0
    trains = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    head = {name for name, _ in model.named_parameters() if is_head_parameter(model, name)}
    layers = {
        next(part for part in name.split(".") if part.isdigit())
        for name in trains - head  # whatever is left of the encoder is inside numbered layers
    }
    assert head <= trains
    assert layers == {str(number) for number in range(3 - count, 3)}


def test_more_layers_than_there_are_is_an_error_that_names_their_number(family_folder: Path) -> None:
    model, _ = load(family_folder)
    with pytest.raises(FtxError, match="has 3 layers"):
        unfreeze_last(model, 4)


def test_a_head_with_generic_names_takes_the_datas_and_keeps_its_weights(tiny_classifier: Path, tmp_path: Path) -> None:
    generic = {str(number): f"LABEL_{number}" for number in range(3)}
    folder = edit_config(
        tiny_classifier, tmp_path / "generic", id2label=generic, label2id={name: int(i) for i, name in generic.items()}
    )
    model, head = load(folder)
    assert head.labels == NAMES
    assert torch.equal(model.classifier.weight, load_file(folder / "model.safetensors")["classifier.weight"])


def test_equal_sets_of_names_keep_the_heads_order(tiny_classifier: Path) -> None:
    _, head = load(tiny_classifier, ("neutral", "positive", "negative"))
    assert head.labels == NAMES
    assert not head.is_new


@pytest.mark.parametrize("names", [("positive", "negative"), ("good", "bad", "neutral")])
def test_other_names_are_an_error_that_shows_both_lists_and_the_setting(
    tiny_classifier: Path, names: tuple[str, ...]
) -> None:
    with pytest.raises(FtxError) as error:
        load(tiny_classifier, names)
    assert ", ".join(names) in str(error.value)
    assert ", ".join(NAMES) in str(error.value)
    assert "train.new_head = true" in error.value.hints[-1]
    assert error.value.code == 2


@pytest.mark.parametrize("names", [("good", "bad"), ("good", "bad", "ugly")])
def test_a_new_head_replaces_the_trained_one_and_leaves_the_encoder(
    tiny_classifier: Path, names: tuple[str, ...]
) -> None:
    model, head = load(tiny_classifier, names, new_head=True)
    before = load_file(tiny_classifier / "model.safetensors")
    assert head.labels == names
    assert model.config.num_labels == model.num_labels == len(names)
    assert model.classifier.weight.shape[0] == len(names)
    assert not torch.equal(model.classifier.weight[:2], before["classifier.weight"][:2])
    encoder_weights = {name: value for name, value in model.state_dict().items() if name.startswith("bert.")}
    assert all(torch.equal(value, before[name]) for name, value in encoder_weights.items())


def without(source: Path, folder: Path, start: str) -> Path:
    shutil.copytree(source, folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith(start)}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_missing_weights_of_the_encoder_are_an_error(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = without(tiny_encoder, tmp_path / "damaged", "encoder.layer.1.output")
    with pytest.raises(FtxError, match=r"lacks 4 weights of Bert.*bert\.encoder\.layer\.1"):
        load(folder)


def test_a_missing_pooler_is_new_with_a_new_head(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = without(tiny_encoder, tmp_path / "no-pooler", "pooler.")
    assert load(folder)[1].is_new


def test_a_classifier_whose_head_is_missing_is_an_error(tiny_classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(FtxError, match="lacks 2 weights"):
        load(without(tiny_classifier, tmp_path / "headless", "classifier."))
