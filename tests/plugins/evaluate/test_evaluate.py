from __future__ import annotations

import csv
import shutil
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from sklearn.metrics import cohen_kappa_score

from ftx import Metric
from ftx_plugins.evaluate.evaluate import run_test, run_validation
from ftx_plugins.evaluate.flips import Flip, write_flips
from ftx_plugins.evaluate.hooks import EvaluateConfig
from ftx_plugins.quantize.recipe import Recipe

CONFIG = EvaluateConfig(latency_rows=20, throughput_rows=32)


@pytest.fixture
def reference(tiny_classifier, as_artifact):
    return as_artifact(tiny_classifier, "checkpoint")


@pytest.fixture
def quantized(tiny_classifier, as_artifact, tmp_path):
    """The same checkpoint with a recipe, as `quantize:dynamic` leaves it."""
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


@pytest.fixture
def spoiled(tiny_classifier, as_artifact, tmp_path):
    """The checkpoint with one label's logits lowered: it loses rows of that label."""
    folder = tmp_path / "spoiled"
    shutil.copytree(tiny_classifier, folder)
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"][0] -= 3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return as_artifact(folder, "checkpoint")


@pytest.fixture
def evaluated(spoiled, reference, tiny_dataset, make_context):
    """What evaluating it gives, and the folder with its files."""
    context = make_context("evaluate:validation")
    inputs = {"model": spoiled, "data": tiny_dataset, "reference": reference}
    return run_validation(CONFIG, inputs, context), context.out


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_changed_row_is_in_a_table_with_both_labels_and_margins(evaluated):
    document, folder = evaluated
    flips = read(folder / "flips.csv")
    assert len(flips) == document["models"][0]["flips"] > 0
    assert list(flips[0]) == ["variant", "row", "text", "label", "before", "after", "margin_before", "margin_after"]
    assert all(flip["before"] != flip["after"] for flip in flips)
    changes = [float(flip["margin_before"]) + float(flip["margin_after"]) for flip in flips]
    assert changes == sorted(changes, reverse=True)
    assert 0 < max(changes) <= 2


def test_a_carriage_return_in_a_text_does_not_part_its_row(tmp_path):
    flip = Flip("", 3, "an old\rMac's text", "a", "a", "b", 0.25, 0.5)
    plain = replace(flip, row=4, text="a plain text", margin_before=0.1)
    write_flips(tmp_path, [flip, plain], pairs=False)
    first, second = read(tmp_path / "negative_flips.csv")
    assert (first["row"], first["text"], first["margin_after"]) == ("3", flip.text, "0.5")
    assert second["text"] == plain.text
    assert (tmp_path / "flips.csv").read_bytes().endswith(b"\n,4,a plain text,a,a,b,0.1,0.5\n")


def test_rows_that_were_right_and_are_wrong_stand_apart(evaluated):
    document, folder = evaluated
    lost = read(folder / "negative_flips.csv")
    assert len(lost) == document["models"][0]["negative_flips"] > 0
    assert all(flip["before"] == flip["label"] != flip["after"] for flip in lost)
    assert [flip for flip in read(folder / "flips.csv") if flip["before"] == flip["label"]] == lost


def test_every_metric_has_an_interval_that_holds_it(evaluated):
    [model] = evaluated[0]["models"]
    for name in ("accuracy", "f1_macro", "f1_micro", "flip_rate", "ece"):
        low, high = model["intervals"][name]
        assert low <= model[name] <= high, name
    assert low < high
    for label, figures in model["intervals"]["per_class"].items():
        for figure, (low, high) in figures.items():
            assert low <= model["per_class"][label][figure] <= high


def test_differences_from_the_reference_are_paired_and_tested(evaluated):
    [model] = evaluated[0]["models"]
    against = model["against_reference"]
    low, high = against["accuracy"]["interval"]
    assert low <= against["accuracy"]["difference"] <= high
    assert against["accuracy"]["difference"] < 0
    assert against["mcnemar"]["only_first"] == model["negative_flips"]
    assert 0 < against["mcnemar"]["p_value"] <= 1
    assert against["verdict"] == "worse"


def test_the_label_that_lost_most_is_named_first(evaluated):
    [model] = evaluated[0]["models"]
    assert model["classes"][0]["slice"] == evaluated[0]["labels"][0]
    assert model["classes"][0]["change"] < -0.3
    assert sum(entry["rows"] for entry in model["lengths"]) == evaluated[0]["rows"]
    changes = [entry["change"] for entry in model["lengths"]]
    assert changes == sorted(changes)


def test_a_plugins_metric_without_counts_gets_fewer_resamples_and_says_so(
    reference, tiny_dataset, make_context, recorder
):
    context = make_context("evaluate:validation")
    metrics = context.plugins.metrics("text-classification")

    class Plugins:
        def runtimes(self):
            return {}

        def metrics(self, task):
            called = Metric("kappa", "", "sklearn_like:kappa")
            return {
                "accuracy": metrics["accuracy"],
                "kappa": called,
                "fragile": Metric("fragile", "", "sklearn_like:fragile"),
            }

    module = types.ModuleType("sklearn_like")
    module.kappa = lambda labels, logits, names: float(cohen_kappa_score(labels, logits.argmax(axis=1)))
    module.fragile = lambda labels, logits, names: 1 / (len(set(map(tuple, logits.tolist()))) == len(labels))
    sys.modules["sklearn_like"] = module
    try:
        inputs = {"model": reference, "data": tiny_dataset, "reference": reference}
        document = run_validation(CONFIG, inputs, replace(context, plugins=Plugins()))
    finally:
        del sys.modules["sklearn_like"]
    [model] = document["models"]
    low, high = model["intervals"]["kappa"]
    assert low <= model["kappa"] <= high
    assert model["fewer_resamples"] == {"kappa": 200, "fragile": 0}
    assert model["fragile"] == 1
    assert "fragile" not in model["intervals"]
    assert any("fragile has no interval" in message for message in recorder.messages("warning"))


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
    assert "odd" in context.plugins.all_metrics(), context.plugins.broken()
    document = run_validation(CONFIG, {"model": reference, "data": tiny_dataset}, context)
    assert "odd" not in document["models"][0]
    assert document["models"][0]["accuracy"] > 0
    (warning,) = [message for message in recorder.messages("warning") if "odd" in message]
    assert "the plugin odd (ftx-odd 2.1) failed: ZeroDivisionError: no rows" in warning
    sys.modules.pop("ftx_odd")
