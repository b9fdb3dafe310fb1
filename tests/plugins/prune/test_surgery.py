"""Cutting units and layers out of each family, and reading back what is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from ftx import Architecture, FtxError
from ftx_plugins.checkpoint import read_model
from ftx_plugins.prune.anatomy import Anatomy, Sublayer, dissect
from ftx_plugins.prune.costs import encoder_operations, operations
from ftx_plugins.prune.surgery import columns_of, keep_layers, keep_units, settle

FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "modernbert")
UNEVEN_HEADS = ([0, 1, 3], [2], [0, 1, 2, 3])
UNEVEN_NEURONS = (range(0, 64, 2), range(7), range(64))

Make = Callable[[str], Any]


def logits(model: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 120, (3, 12), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    ids[1, 7:] = 0
    with torch.inference_mode():
        result: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits
    return result


def silence(part: Sublayer, kept: Any) -> None:
    """Give all units but those kept an output of zero."""
    gone = sorted(set(range(part.units)) - set(kept))
    with torch.no_grad():
        part.out.weight[:, columns_of(gone, part.size, part.out.weight.device)] = 0


def cut_unevenly(anatomy: Anatomy) -> None:
    for layer, (heads, neurons) in enumerate(zip(UNEVEN_HEADS, UNEVEN_NEURONS, strict=True)):
        keep_units(anatomy.attention(layer), list(heads))
        keep_units(anatomy.feed_forward(layer), list(neurons))
    settle(anatomy)


@pytest.mark.parametrize("family", FAMILIES)
def test_heads_and_neurons_whose_output_is_zero_can_be_removed(
    family: str, make_model: Make, architectures: Any
) -> None:
    model = make_model(family)
    anatomy = dissect(model, architectures)
    for layer, (heads, neurons) in enumerate(zip(UNEVEN_HEADS, UNEVEN_NEURONS, strict=True)):
        silence(anatomy.attention(layer), heads)
        silence(anatomy.feed_forward(layer), neurons)
    before, size = logits(model), model.num_parameters()
    cut_unevenly(anatomy)
    assert (logits(model) - before).abs().max() < 1e-5
    assert before.std() > 0.01
    assert (anatomy.heads(), anatomy.widths()) == ([3, 1, 4], [32, 7, 64])
    assert model.num_parameters() < size


@pytest.mark.parametrize("family", FAMILIES)
def test_an_uneven_model_is_rebuilt_before_its_weights_are_loaded(
    family: str, make_model: Make, architectures: Any, tmp_path: Path
) -> None:
    model = make_model(family)
    cut_unevenly(dissect(model, architectures))
    model.save_pretrained(tmp_path)
    read, missing = read_model(tmp_path)
    assert missing == []
    assert type(read) is type(model)
    assert torch.equal(logits(read), logits(model))
    assert dissect(read, architectures).heads() == [3, 1, 4]
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_even_widths_and_fewer_layers_is_a_stock_model(
    family: str, make_model: Make, architectures: Any, tmp_path: Path
) -> None:
    model = make_model(family)
    anatomy = dissect(model, architectures)
    keep_layers(anatomy, [0, 2])
    for layer in range(2):
        keep_units(anatomy.feed_forward(layer), list(range(0, 64, 4)))
    settle(anatomy)
    model.save_pretrained(tmp_path)
    assert "ftx_shapes" not in json.loads((tmp_path / "config.json").read_text())
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(logits(stock), logits(model))
    assert len(dissect(stock, architectures).layers) == 2


def test_the_steps_compose_in_any_order(make_model: Make, architectures: Any, tmp_path: Path) -> None:
    model = make_model("bert")
    cut_unevenly(dissect(model, architectures))
    model.save_pretrained(tmp_path / "first")
    model, _ = read_model(tmp_path / "first")
    anatomy = dissect(model, architectures)
    keep_layers(anatomy, [1, 2])
    settle(anatomy)
    model.save_pretrained(tmp_path / "second")
    read, _ = read_model(tmp_path / "second")
    assert torch.equal(logits(read), logits(model))
    assert dissect(read, architectures).widths() == [7, 64]


def test_a_missing_weight_is_not_made_up(make_model: Make, architectures: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = make_model("bert")
    cut_unevenly(dissect(model, architectures))
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    assert read_model(tmp_path)[1] == ["classifier.weight"]


def test_shapes_that_do_not_fit_the_weights_are_an_error(make_model: Make, architectures: Any, tmp_path: Path) -> None:
    model = make_model("bert")
    cut_unevenly(dissect(model, architectures))
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    name = next(iter(config["ftx_shapes"]))
    config["ftx_shapes"][name][0] += 8
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(FtxError, match=r"other shapes than its config\.json says"):
        read_model(tmp_path)
    config["ftx_shapes"] = {"bert.nowhere": [1, 1]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(FtxError, match=r"bert\.nowhere, which is no linear layer"):
        read_model(tmp_path)


def test_the_first_layer_of_modernbert_stays(make_model: Make, architectures: Any) -> None:
    with pytest.raises(FtxError, match="first layer of modernbert"):
        keep_layers(dissect(make_model("modernbert"), architectures), [1, 2])


def test_a_family_that_is_not_known_is_an_error_that_names_those_that_are(make_model: Make, architectures: Any) -> None:
    model = make_model("bert")
    model.config.model_type = "deberta-v2"
    with pytest.raises(FtxError, match="deberta-v2 model cannot be pruned") as caught:
        dissect(model, architectures)
    assert all(family in str(caught.value) for family in FAMILIES)
    assert "ftx_architectures" in caught.value.hints[-1]


def test_a_plugin_adds_a_family(architectures: Any) -> None:
    from transformers import AutoConfig

    config = AutoConfig.for_model(
        "ernie", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=120
    )
    model = AutoModelForSequenceClassification.from_config(config).eval()
    bert = architectures["bert"]
    added = Architecture(
        "ernie", bert.layers, bert.attention_in, bert.attention_out, ffn_in=bert.ffn_in, ffn_out=bert.ffn_out
    )
    anatomy = dissect(model, {"ernie": added})
    silence(anatomy.attention(0), [3])
    before = logits(model)
    keep_units(anatomy.attention(0), [3])
    assert (logits(model) - before).abs().max() < 1e-5


def test_an_architecture_that_names_no_linear_layer_is_an_error(make_model: Make, architectures: Any) -> None:
    from dataclasses import replace

    wrong = replace(architectures["bert"], ffn_out="output.LayerNorm")
    with pytest.raises(FtxError, match=r"has no linear layer output\.LayerNorm"):
        dissect(make_model("bert"), {"bert": wrong}).sublayers()


@pytest.mark.parametrize(("family", "projections"), [("bert", 2), ("modernbert", 3)])
def test_operations_count_projections_and_the_quadratic_part(
    family: str, projections: int, make_model: Make, architectures: Any
) -> None:
    anatomy = dissect(make_model(family), architectures)
    attention, feed_forward = anatomy.attention(0), anatomy.feed_forward(0)
    assert operations(attention, 4, 32, 10) == 2 * 10 * 32 * 32 * 4 + 2 * 2 * 10 * 10 * 32
    assert operations(feed_forward, 64, 32, 10) == 2 * 10 * 32 * 64 * projections
    assert encoder_operations(anatomy, 10) == 3 * (
        operations(attention, 4, 32, 10) + operations(feed_forward, 64, 32, 10)
    )
