"""The prune steps on the tiny classifier: what they leave, what they refuse, and that a killed one goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForSequenceClassification

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx_plugins import distillation
from ftx_plugins.checkpoint import compute_logits, load_checkpoint
from ftx_plugins.data.splits import load_rows
from ftx_plugins.prune import layers, magnitude, structured, width
from ftx_plugins.prune.config import LayersConfig, MagnitudeConfig, StructuredConfig, WidthConfig

FAST: dict[str, Any] = {"calibration_rows": 48, "learning_rate": 1e-3}
QUICK: dict[str, Any] = {"calibration_rows": 48, "recovery_epochs": 0}


@pytest.fixture(scope="module")
def inputs(tiny_classifier: Path, tiny_dataset: Artifact) -> dict[str, Artifact]:
    from ftx.artifacts import Checkpoint, Manifest
    from ftx.hashing import hash_folder

    manifest = Manifest("checkpoint", hash_folder(tiny_classifier), {"task": "text-classification", "base": "tiny"})
    return {"model": Checkpoint(tiny_classifier, manifest), "data": tiny_dataset}


def accuracy(folder: Path, data: Artifact) -> float:
    rows = load_rows(data, "validation")
    loaded = load_checkpoint(folder)
    names = [data.meta["labels"].index(label) for label in loaded.labels]
    predicted = np.asarray(names)[compute_logits(loaded, rows.texts).argmax(axis=1)]
    return float((predicted == rows.labels).mean())


def test_structured_meets_its_target_and_keeps_the_accuracy(
    inputs: dict[str, Artifact], make_context: Callable[..., Any]
) -> None:
    context = make_context("prune:structured")
    config = StructuredConfig(flops=0.5, rounds=2, ffn_multiple=8, **FAST)
    metrics = structured.run(config, inputs, context)
    assert 0.4 < metrics["flops_share"] <= 0.5
    assert metrics["parameters_share"] < 1
    assert all(share["share"] <= limit for share, limit in zip(metrics["rounds"], (0.708, 0.5), strict=True))
    assert all(width % 8 == 0 and width > 0 for width in metrics["ffn_widths"]["after"])
    assert all(heads > 0 for heads in metrics["heads"]["after"])
    assert accuracy(context.out, inputs["data"]) >= accuracy(inputs["model"].path, inputs["data"]) - 0.05
    assert context.meta["base"] == "tiny"
    assert context.meta["ffn_widths"] == metrics["ffn_widths"]["after"]
    assert metrics["recovery"]["losses"][-1] < metrics["recovery"]["losses"][0]


def test_structured_by_latency_keeps_that_share_of_what_it_measured(
    inputs: dict[str, Artifact], make_context: Callable[..., Any]
) -> None:
    context = make_context("prune:structured")
    config = StructuredConfig(latency=0.9, rounds=1, ffn_multiple=8, **QUICK)
    metrics = structured.run(config, inputs, context)
    assert metrics["latency_share"] <= 0.9
    assert metrics["flops_share"] < 1


def test_the_same_seed_gives_the_same_weights(inputs: dict[str, Artifact], make_context: Callable[..., Any]) -> None:
    contexts = [make_context("prune:structured") for _ in range(2)]
    for context in contexts:
        structured.run(StructuredConfig(flops=0.6, rounds=1, ffn_multiple=8, **QUICK), inputs, context)
    first, second = ((context.out / "model.safetensors").read_bytes() for context in contexts)
    assert first == second


def test_a_killed_step_goes_on_from_its_round_and_its_epoch(
    inputs: dict[str, Artifact], make_context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = StructuredConfig(flops=0.6, rounds=2, ffn_multiple=8, **FAST)
    whole = make_context("prune:structured")
    structured.run(config, inputs, whole)
    work = tmp_path / "work"
    collect, save, calls = structured.collect_statistics, distillation._Distiller.save, []

    def dies_in_the_second_round(*args: Any) -> Any:
        calls.append("round")
        if len(calls) == 2:
            raise KeyboardInterrupt
        return collect(*args)

    def dies_behind_the_first_epoch(self: Any) -> None:
        save(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(structured, "collect_statistics", dies_in_the_second_round)
    with pytest.raises(KeyboardInterrupt):
        structured.run(config, inputs, make_context("prune:structured", work=work))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(distillation._Distiller, "save", dies_behind_the_first_epoch)
        structured.run(config, inputs, make_context("prune:structured", work=work))
    resumed = make_context("prune:structured", work=work)
    metrics = structured.run(config, inputs, resumed)
    assert calls == ["round"] * 3
    assert len(metrics["rounds"]) == len(metrics["recovery"]["losses"]) == 2
    first, second = (load_checkpoint(context.out).model.state_dict() for context in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_width_leaves_a_stock_model(inputs: dict[str, Artifact], make_context: Callable[..., Any]) -> None:
    context = make_context("prune:width")
    metrics = width.run(WidthConfig(width=24, **FAST), inputs, context)
    stock = AutoModelForSequenceClassification.from_pretrained(context.out)
    assert stock.config.intermediate_size == 24
    assert metrics["ffn_widths"] == {"before": [64, 64], "after": [24, 24]}
    assert accuracy(context.out, inputs["data"]) >= accuracy(inputs["model"].path, inputs["data"]) - 0.05


def test_layers_keeps_the_one_that_is_missed_most(
    inputs: dict[str, Artifact], make_context: Callable[..., Any]
) -> None:
    chosen = layers.run(LayersConfig(keep=1, **QUICK), inputs, make_context("prune:layers"))
    [kept] = chosen["layers"]
    other = layers.run(LayersConfig(layers=(1 - kept,), **QUICK), inputs, make_context("prune:layers"))
    assert other["layers"] == [1 - kept]
    assert chosen["divergence"] < other["divergence"]


def test_layers_recovers_and_leaves_a_stock_model(
    inputs: dict[str, Artifact], make_context: Callable[..., Any]
) -> None:
    context = make_context("prune:layers")
    metrics = layers.run(LayersConfig(keep=1, **FAST), inputs, context)
    assert AutoModelForSequenceClassification.from_pretrained(context.out).config.num_hidden_layers == 1
    assert metrics["flops_share"] == 0.5
    assert metrics["accuracy"]["recovered"] >= metrics["accuracy"]["pruned"]


@pytest.mark.parametrize(
    ("config", "share"), [(MagnitudeConfig(), 0.5), (MagnitudeConfig(pattern="unstructured", sparsity=0.75), 0.75)]
)
def test_magnitude_sets_weights_to_zero_and_says_who_gains(
    config: MagnitudeConfig, share: float, inputs: dict[str, Artifact], make_context: Callable[..., Any], recorder: Any
) -> None:
    context = make_context("prune:magnitude")
    metrics = magnitude.run(config, {"model": inputs["model"]}, context)
    model = load_checkpoint(context.out).model
    weight = model.bert.encoder.layer[1].output.dense.weight
    assert metrics["zeros_share"] == float((weight == 0).float().mean()) == share
    assert not (model.classifier.weight == 0).any()
    assert "runtimes with kernels for sparse weights" in recorder.messages("warning")[0]
    if config.pattern == "2:4":
        assert ((weight.reshape(-1, 4) == 0).sum(dim=1) == 2).all()
        original = load_checkpoint(inputs["model"].path).model.bert.encoder.layer[1].output.dense.weight
        assert original.abs()[weight == 0].mean() < original.abs()[weight != 0].mean()


def test_rows_that_are_not_there_are_said_so(
    inputs: dict[str, Artifact], make_context: Callable[..., Any], recorder: Any
) -> None:
    config = WidthConfig(width=32, calibration_rows=500, recovery_rows=400, recovery_epochs=1)
    metrics = width.run(config, inputs, make_context("prune:width"))
    assert metrics["calibration_rows"] == metrics["recovery"]["rows"] == 96
    warnings = recorder.messages("warning")
    assert [warning.split(",")[0] for warning in warnings] == [
        "prune.calibration_rows = 500",
        "prune.recovery_rows = 400",
    ]


@pytest.mark.parametrize(
    ("run", "config", "message"),
    [
        (structured.run, StructuredConfig(flops=0.2, **QUICK), r"prune\.flops = 0\.2 is out of reach"),
        (structured.run, StructuredConfig(latency=0.01, **QUICK), r"prune\.latency = 0\.01 is out of reach"),
        (layers.run, LayersConfig(keep=2, **QUICK), "keeping 2 drops none"),
        (layers.run, LayersConfig(keep=7, **QUICK), "keeping 7 drops none"),
        (layers.run, LayersConfig(layers=(0, 5), **QUICK), "2 layers are 0 to 1"),
        (width.run, WidthConfig(width=65, **QUICK), "layer 0 has 64 neurons only"),
        (width.run, WidthConfig(width=64, **QUICK), "is the width that each layer has"),
    ],
)
def test_a_target_that_cannot_be_met_is_an_error_that_says_what_can(
    run: Any, config: Any, message: str, inputs: dict[str, Artifact], make_context: Callable[..., Any]
) -> None:
    with pytest.raises(FtxError, match=message) as caught:
        run(config, inputs, make_context())
    assert caught.value.hints
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "build",
    [
        lambda: StructuredConfig(flops=1.0),
        lambda: StructuredConfig(flops=0.0),
        lambda: StructuredConfig(latency=1.5),
        lambda: StructuredConfig(rounds=0),
        lambda: LayersConfig(keep=1, layers=(0,)),
        lambda: LayersConfig(layers=(1, 0)),
        lambda: LayersConfig(layers=()),
        lambda: MagnitudeConfig(sparsity=0.7),
    ],
)
def test_settings_out_of_range_are_refused(build: Callable[[], Any]) -> None:
    with pytest.raises(ValidationError):
        build()


def test_a_quantized_checkpoint_is_not_pruned(
    tiny_classifier: Path, inputs: dict[str, Artifact], make_context: Callable[..., Any]
) -> None:
    from dataclasses import replace

    from ftx.artifacts import Checkpoint

    manifest = replace(inputs["model"].manifest, meta={"recipe": {"scheme": "dynamic"}})
    quantized = Checkpoint(tiny_classifier, manifest)
    with pytest.raises(FtxError, match="is quantized"):
        structured.run(StructuredConfig(), {**inputs, "model": quantized}, make_context())


def test_other_labels_than_the_models_are_an_error(
    inputs: dict[str, Artifact], make_context: Callable[..., Any]
) -> None:
    from dataclasses import replace

    from ftx.artifacts import Dataset

    data = Dataset(inputs["data"].path, replace(inputs["data"].manifest, meta={"labels": ["a", "b", "c"]}))
    with pytest.raises(FtxError, match="are not the data's"):
        width.run(WidthConfig(width=32, **QUICK), {**inputs, "data": data}, make_context())


def test_a_recovery_that_diverges_is_an_error(
    inputs: dict[str, Artifact], make_context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distillation, "distance", lambda reached, *_: reached.logits.sum() * float("nan"))
    with pytest.raises(FtxError, match="recovery diverged") as caught:
        width.run(WidthConfig(width=32, **FAST), inputs, make_context())
    assert caught.value.code == 1
