"""`ftx compare`, and what `ftx show` says of an evaluation."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ftx.artifacts import MANIFEST, Manifest
from ftx.cli import main
from ftx.hashing import hash_folder
from ftx_plugins.evaluate.evaluate import run_validation
from ftx_plugins.evaluate.hooks import EvaluateConfig

LABELS = ("bad", "good")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project, in which the command line is used."""
    (tmp_path / "project" / ".ftx" / "objects").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project" / ".ftx" / "objects"


@pytest.fixture
def put(project):
    """`put(folder, manifest)`: the artifact in the project's store; returns its digest."""

    def call(folder, manifest):
        (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        folder.rename(project / manifest.digest)
        return manifest.digest

    return call


@pytest.fixture
def evaluation(put, tmp_path):
    """`evaluation(right, rows=None, data="d1", ...)`: an evaluation of a model that is right on those rows."""
    made = 0

    def make(right, *, rows=None, data="d1", split="test", labels=LABELS, variants=("onnx-int8",), model="m"):
        nonlocal made
        made += 1
        folder = tmp_path / f"evaluation-{made}"
        folder.mkdir()
        right = np.asarray(right)
        rows = np.arange(len(right)) if rows is None else np.asarray(rows)
        label = rows % 2
        predicted = np.where(right, label, 1 - label)
        logits = np.eye(2, dtype=np.float32)[predicted]
        np.savez(folder / "logits.npz", row=rows, label=label, **dict.fromkeys(variants, logits))
        metrics = {"split": split, "labels": list(labels), "models": [{"variant": variant} for variant in variants]}
        inputs = {"data": data, "model": model}
        return put(folder, Manifest("evaluation", hash_folder(folder), {"number": made}, metrics, inputs=inputs))

    return make


@pytest.fixture
def ftx(capsys):
    """`ftx(*arguments)`: exit code, stdout and stderr of the command line."""

    def call(*arguments):
        with pytest.raises(SystemExit) as finished:
            main(list(arguments))
        written = capsys.readouterr()
        return finished.value.code, written.out, written.err

    return call


def right_but(rows, *wrong):
    right = np.ones(rows, dtype=bool)
    for start, end in wrong:
        right[start:end] = False
    return right


@pytest.mark.parametrize(("wrong_of_a", "wrong_of_b", "verdict"), [(80, 20, "better"), (20, 80, "worse")])
def test_a_clear_difference_is_a_verdict_on_the_second(evaluation, ftx, wrong_of_a, wrong_of_b, verdict):
    a, b = (evaluation(right_but(400, (0, wrong))) for wrong in (wrong_of_a, wrong_of_b))
    code, out, _ = ftx("compare", a[:12], b[:12])
    assert code == 0
    assert f"verdict: B is {verdict} than A" in out
    assert "400 rows of the test split" in out
    found = json.loads(ftx("compare", a, b, "--json")[1])
    assert (found["verdict"], found["rows"], found["more_rows"]) == (verdict, 400, None)
    assert found["accuracy"]["difference"] == pytest.approx((wrong_of_a - wrong_of_b) / 400)
    low, high = found["f1_macro"]["interval"]
    assert low < found["f1_macro"]["difference"] < high


def test_where_the_rows_cannot_tell_it_says_how_many_would(evaluation, ftx):
    a, b = evaluation(right_but(400, (0, 20))), evaluation(right_but(400, (18, 40)))
    code, out, _ = ftx("compare", a, b)
    assert code == 0
    assert "cannot tell whether" in out
    found = json.loads(ftx("compare", a, b, "--json")[1])
    assert found["verdict"] == "cannot tell"
    assert found["mcnemar"]["only_first"], found["mcnemar"]["only_second"] == (20, 18)
    assert found["more_rows"] > 1000
    assert f"about {found['more_rows']} more rows would tell" in out


def test_a_model_against_itself_cannot_be_told_apart_by_any_number_of_rows(evaluation, ftx):
    a = evaluation(right_but(50, (0, 5)))
    code, out, _ = ftx("compare", a, a)
    assert code == 0
    assert "no number of rows like these would tell" in out


def test_only_rows_that_both_looked_at_count(evaluation, ftx):
    a = evaluation(right_but(60), rows=range(60))
    b = evaluation(right_but(60, (0, 30)), rows=range(30, 90))
    found = json.loads(ftx("compare", a, b, "--json")[1])
    assert (found["rows"], found["accuracy"]["a"], found["accuracy"]["b"]) == (30, 1.0, 0.0)


def test_the_test_split_is_preferred_and_another_can_be_named(evaluation, put, ftx, tmp_path):
    for model in ("a", "b"):
        for split in ("validation", "test"):
            evaluation(right_but(40, (0, 4)), split=split, model=bundle_digest(model))
    a, b = (put_bundle(put, tmp_path, model) for model in ("a", "b"))
    assert json.loads(ftx("compare", a, b, "--json")[1])["split"] == "test"
    assert json.loads(ftx("compare", a, b, "--split", "validation", "--json")[1])["split"] == "validation"


def bundle_manifest(name):
    return Manifest("bundle", {}, {"name": name})


def bundle_digest(name):
    return bundle_manifest(name).digest


def put_bundle(put, tmp_path, name):
    folder = tmp_path / f"bundle-{name}"
    folder.mkdir()
    return put(folder, bundle_manifest(name))


def test_variants_can_be_named_for_both_or_for_each(evaluation, ftx):
    a = evaluation(right_but(40, (0, 4)), variants=("onnx-int8", "onnx-fp32"))
    models = [
        (found["a"]["model"], found["b"]["model"])
        for found in (
            json.loads(ftx("compare", a, a, *options, "--json")[1])
            for options in ((), ("--variant", "onnx-fp32"), ("--variant", "onnx-fp32", "--variant", "onnx-int8"))
        )
    ]
    assert models == [("onnx-int8", "onnx-int8"), ("onnx-fp32", "onnx-fp32"), ("onnx-fp32", "onnx-int8")]


def test_what_cannot_be_compared_is_one_clear_error(evaluation, put, ftx, tmp_path):
    a = evaluation(right_but(40))
    other_rows = evaluation(right_but(40), rows=range(100, 140))
    other_data = evaluation(right_but(40), data="d2")
    other_split = evaluation(right_but(40), split="validation")
    other_labels = evaluation(right_but(40), labels=("no", "yes"))
    lonely = put_bundle(put, tmp_path, "lonely")
    for arguments, message in (
        ((a, other_rows), "share none"),
        ((a, other_data), "different data (d1 and d2)"),
        ((a, other_split), "not both evaluated on any split in common"),
        ((a, a, "--split", "validation"), "not both evaluated on the validation split"),
        ((a, other_labels), "different labels"),
        ((a, lonely), "has not been evaluated"),
        ((a, a, "--variant", "onnx-int4"), "no variant onnx-int4; it has: onnx-int8"),
        ((a, a, *["--variant", "onnx-int8"] * 3), "3 variants for two models"),
        ((a, "0123456789"), "there is no artifact 0123456789"),
    ):
        code, _, err = ftx("compare", *arguments)
        assert code == 2, arguments
        assert message in err
        assert "→" in err


def test_show_lays_out_what_an_evaluation_found(
    tiny_bundle, tiny_classifier, tiny_dataset, as_artifact, make_context, put, ftx
):
    context = make_context("evaluate:validation")
    config = EvaluateConfig(latency_rows=20, throughput_rows=32, invariance_rows=16)
    inputs = {"model": tiny_bundle, "data": tiny_dataset, "reference": as_artifact(tiny_classifier, "checkpoint")}
    document = run_validation(config, inputs, context)
    digest = put(context.out, Manifest("evaluation", hash_folder(context.out), {}, document))
    code, out, _ = ftx("show", digest)
    assert code == 0
    assert "95% bootstrap intervals" in out
    for title in ("quality", "against the reference", "by label", "by length in tokens", "what a text is sent with"):
        assert title in out
    accuracy = document["models"][0]["accuracy"]
    low, high = document["models"][0]["intervals"]["accuracy"]
    assert f"{accuracy:.4f} [{low:.4f}, {high:.4f}]" in out
    for variant in ("onnx-int8", "torchscript-fp32"):
        assert variant in out
    shown = json.loads(ftx("show", digest, "--json")[1])
    assert len(shown["flips"]) == min(20, sum(model["flips"] for model in document["models"]))
