"""The step that chooses: within the budget, by measurement, and the bundle otherwise unchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from huggingface_hub import ModelCard

from ftx import machine
from ftx.artifacts import Artifact
from ftx.errors import ExitCode, FtxError
from ftx_plugins.choose.fastest import run
from ftx_plugins.choose.hooks import ChooseConfig
from ftx_serving.predictor import Predictor

CONFIG = ChooseConfig(seconds=0.01, threads=(1,), batch_size=4)
NAMES = ("onnx-int8", "torchscript-int8", "onnx-fp32", "torchscript-fp32")
ACCURACY = {"onnx-int8": 0.90, "torchscript-int8": 0.87, "onnx-fp32": 0.95, "torchscript-fp32": 0.95}


def evaluation(as_artifact: Callable[..., Artifact], folder: Any, models: list[dict[str, Any]], split: str) -> Artifact:
    folder.mkdir()
    return as_artifact(folder, "evaluation", metrics={"split": split, "rows": 100, "models": models})


def figures(variant: str | None, accuracy: float) -> dict[str, Any]:
    quality = {"accuracy": accuracy, "f1_macro": accuracy, "f1_micro": accuracy, "flip_rate": 0.95 - accuracy}
    precise = variant is None or variant.endswith("fp32")
    size = 90.0 if precise else 60.0
    return {"variant": variant, **quality, "quantized": not precise, "p50_ms": 1.0, "p95_ms": 2.0, "size_mb": size}


@pytest.fixture
def inputs(
    tiny_bundle: Artifact, tiny_dataset: Artifact, as_artifact: Callable[..., Artifact], tmp_path: Any
) -> dict[str, Artifact]:
    models = [figures(name, ACCURACY[name]) for name in NAMES]
    return {
        "model": tiny_bundle,
        "data": tiny_dataset,
        "evaluation": evaluation(as_artifact, tmp_path / "evaluation", models, "validation"),
        "baseline": evaluation(as_artifact, tmp_path / "baseline", [figures(None, 0.95)], "validation"),
    }


@pytest.fixture
def within(make_context: Callable[..., Any]) -> Callable[..., Any]:
    """`within(accuracy_drop=0.01)`: a context with that budget."""
    return lambda **limits: replace(make_context("choose:fastest"), budget=limits)


def test_the_bundle_is_the_same_but_for_the_choice(inputs: Mapping[str, Artifact], within: Callable[..., Any]) -> None:
    context = within()
    metrics = run(CONFIG, inputs, context)
    bundle = inputs["model"]
    choice = context.meta["choice"]
    assert {name: fact for name, fact in context.meta.items() if name != "choice"} == bundle.meta
    assert {path.relative_to(context.out).as_posix() for path in context.out.rglob("*") if path.is_file()} == set(
        bundle.manifest.files
    )
    assert choice["variant"] in NAMES
    assert choice["threads"] == 1
    assert choice["machine"]["processor"] == machine.processor()
    assert choice["machine"]["cores"] == machine.cores()
    assert choice["figures"]["rows_per_second"]["value"] > 0
    assert metrics["choice"]["variant"] == choice["variant"] == metrics["candidates"][0]["variant"]
    assert len(metrics["candidates"]) == 4


def test_the_card_gains_the_choice_and_what_the_evaluation_found_and_the_bundle_before_keeps_its_own(
    inputs: Mapping[str, Artifact], within: Callable[..., Any]
) -> None:
    before = (inputs["model"].path / "README.md").read_text(encoding="utf-8")
    context = within()
    run(CONFIG, inputs, context)
    card = (context.out / "README.md").read_text(encoding="utf-8")
    assert f"Chosen by measurement: `{context.meta['choice']['variant']}`" in card
    assert "| torchscript-int8 | 0.8700 | 0.8700 | 8.00% |" in card
    results = ModelCard(card).data.eval_results
    assert ("Accuracy, onnx-int8", 0.9) in [(result.metric_name, result.metric_value) for result in results]
    assert "Evaluation" not in before
    assert (inputs["model"].path / "README.md").read_text(encoding="utf-8") == before


def test_a_variant_beyond_the_budget_is_refused_with_the_figure_however_fast_it_is(
    inputs: Mapping[str, Artifact], within: Callable[..., Any]
) -> None:
    context = within(accuracy_drop=0.06, size_mb=70.0)
    run(CONFIG.model_copy(update={"allow_slower_than_fp32": True}), inputs, context)
    choice = context.meta["choice"]
    assert choice["variant"] == "onnx-int8"
    assert "accuracy_drop is 0.08, the budget allows 0.06" in choice["refused"]["torchscript-int8"]
    assert "size_mb is 90, the budget allows 70" in choice["refused"]["onnx-fp32"]


def test_an_infeasible_budget_names_the_nearest_that_is_feasible(
    inputs: Mapping[str, Artifact], within: Callable[..., Any]
) -> None:
    with pytest.raises(FtxError, match="no variant may be chosen") as caught:
        run(CONFIG, inputs, within(accuracy_drop=0.04, size_mb=70.0))
    assert caught.value.code == ExitCode.BUDGET
    assert caught.value.hints[0] == "the nearest budget that onnx-int8 is within: --set budget.accuracy_drop=0.05"


def test_latency_is_held_against_what_is_measured_now(
    inputs: Mapping[str, Artifact], within: Callable[..., Any]
) -> None:
    with pytest.raises(FtxError, match="latency_p95_ms is"):
        run(CONFIG, inputs, within(latency_p95_ms=1e-6))


def test_a_budget_of_quality_needs_an_evaluation_on_validation(
    inputs: dict[str, Artifact], within: Callable[..., Any], as_artifact: Callable[..., Artifact], tmp_path: Any
) -> None:
    models = [figures(name, ACCURACY[name]) for name in NAMES]
    inputs["evaluation"] = evaluation(as_artifact, tmp_path / "test", models, "test")
    with pytest.raises(FtxError, match="limits flip_rate, and this bundle was not evaluated on the validation split"):
        run(CONFIG, inputs, within(flip_rate=0.1))
    del inputs["evaluation"]
    context = within(size_mb=1e6)
    run(CONFIG, inputs, context)
    assert context.meta["choice"]


def test_a_runtime_that_is_missing_is_named_and_the_others_are_measured(
    inputs: Mapping[str, Artifact], within: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, recorder: Any
) -> None:
    from importlib.util import find_spec

    monkeypatch.setattr(
        "ftx_serving.bench.candidates.find_spec", lambda name: None if name == "torch" else find_spec(name)
    )
    context = within()
    run(CONFIG, inputs, context)
    assert context.meta["choice"]["runtime"] == "onnxruntime"
    assert any("pip install 'ftx-toolchain[train]'" in message for message in recorder.messages("warning"))
    assert "torchscript-fp32 with torchscript" in context.meta["choice"]["refused"]


def test_a_predictor_runs_what_was_chosen(
    inputs: Mapping[str, Artifact], within: Callable[..., Any], as_artifact: Callable[..., Artifact]
) -> None:
    context = within()
    run(CONFIG, inputs, context)
    as_artifact(context.out, "bundle", **context.meta)
    predictor = Predictor.load(context.out, runtimes=context.plugins.runtimes())
    assert predictor.variant.name == context.meta["choice"]["variant"]
