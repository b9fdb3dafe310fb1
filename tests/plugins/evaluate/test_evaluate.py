from __future__ import annotations

import json

import numpy as np
import pytest

from ftx_plugins.evaluate.evaluate import run_test, run_validation
from ftx_plugins.evaluate.hooks import EvaluateConfig
from ftx_plugins.quantize.recipe import Recipe

CONFIG = EvaluateConfig(latency_rows=20, throughput_rows=32)


@pytest.fixture
def reference(tiny_classifier, as_artifact):
    return as_artifact(tiny_classifier, "checkpoint")


@pytest.fixture
def quantized(tiny_classifier, as_artifact, tmp_path):
    """The same checkpoint with a recipe, as `quantize:dynamic` leaves it."""
    import shutil

    folder = tmp_path / "quantized"
    shutil.copytree(tiny_classifier, folder)
    return as_artifact(folder, "checkpoint", recipe=Recipe().to_dict())


def test_on_the_test_split_the_reference_stands_beside_a_checkpoint(reference, quantized, tiny_dataset, make_context):
    context = make_context("evaluate:test")
    document = run_test(CONFIG, {"model": quantized, "data": tiny_dataset, "reference": reference}, context)
    assert [model.get("step") for model in document["models"]] == ["reference", None]
    with np.load(context.out / "logits.npz") as kept:
        assert set(kept) == {"row", "label", "reference", "torch"}
        difference = np.abs(kept["reference"] - kept["torch"]).max()
    assert difference == pytest.approx(document["models"][1]["max_logit_difference"])
    assert difference > 0


def test_a_kept_evaluation_of_the_reference_gives_the_same_as_computing_it(
    reference, quantized, tiny_dataset, make_context, as_artifact
):
    first = make_context("evaluate:validation")
    inputs = {"model": reference, "data": tiny_dataset, "reference": reference}
    of_reference = run_validation(CONFIG, inputs, first)
    assert of_reference["is_reference"]
    assert of_reference["models"][0]["flips"] == 0
    baseline = as_artifact(first.out, "evaluation", metrics=of_reference)
    inputs = {"model": quantized, "data": tiny_dataset, "reference": reference}
    computed = run_validation(CONFIG, inputs, make_context("evaluate:validation"))
    kept = run_validation(CONFIG, {**inputs, "baseline": baseline}, make_context("evaluate:validation"))
    names = ("accuracy", "flips", "flip_rate", "max_logit_difference")
    assert [computed["models"][0][name] for name in names] == [kept["models"][0][name] for name in names]


def test_each_changed_row_is_kept_with_both_labels(
    reference, tiny_classifier, tiny_dataset, make_context, as_artifact, tmp_path
):
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "spoiled"
    shutil.copytree(tiny_classifier, folder)
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"] = -weights["classifier.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    context = make_context("evaluate:validation")
    inputs = {"model": as_artifact(folder, "checkpoint"), "data": tiny_dataset, "reference": reference}
    document = run_validation(CONFIG, inputs, context)
    flips = [json.loads(line) for line in (context.out / "flips.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(flips) == document["models"][0]["flips"] > 0
    assert all(flip["reference"] != flip["predicted"] for flip in flips)
    assert [flip["change"] for flip in flips] == sorted((flip["change"] for flip in flips), reverse=True)


def test_a_plugins_metric_that_fails_costs_its_own_figure_alone(
    reference, tiny_dataset, make_context, recorder, tmp_path, monkeypatch
):
    import sys

    (tmp_path / "ftx_odd.py").write_text(
        "from ftx import Metric, hookimpl\n"
        "def compute(labels, logits, names): raise ZeroDivisionError('no rows')\n"
        "@hookimpl\n"
        "def ftx_metrics(): yield Metric(name='odd', summary='', compute='ftx_odd:compute')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    context = make_context("evaluate:validation")
    context.plugins.add("odd", "ftx_odd", "ftx-odd", "2.1")
    document = run_validation(CONFIG, {"model": reference, "data": tiny_dataset}, context)
    assert "odd" not in document["models"][0]
    assert document["models"][0]["accuracy"] > 0
    (warning,) = [message for message in recorder.messages("warning") if "odd" in message]
    assert "the plugin odd (ftx-odd 2.1) failed: ZeroDivisionError: no rows" in warning
    sys.modules.pop("ftx_odd")
