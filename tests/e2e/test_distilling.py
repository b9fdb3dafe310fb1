"""An ensemble of seeds, from training to a bundle; and a student that is taught by it."""

from __future__ import annotations

from typing import Any

import pytest

from ftx.artifacts import open_artifact

pytestmark = pytest.mark.slow

SETTINGS = """
[distill]
layers = 1
epochs = 4
learning_rate = 2e-3
batch_size = 16
mixed_precision = "fp32"

[prune]
flops = 0.7
rounds = 1
ffn_multiple = 8
recovery_epochs = 1
calibration_rows = 64
"""
VOTING = ("--set", "train.seeds=[1, 2]", "--set", 'train.combine="soft-vote"', "--set", "train.epochs=4")
DYNAMIC = ("--set", 'export.formats=["onnx"]')


@pytest.fixture(scope="module")
def taught(make_project: Any) -> Any:
    project = make_project()
    project.write((project.root / "ftx.toml").read_text() + SETTINGS)
    ran = project.ftx("run", "train", "distill", "prune", "quantize:dynamic", "export", "--json", *VOTING, *DYNAMIC)
    assert ran.code == 0, ran.err
    return project, ran


def test_a_student_of_an_ensemble_is_pruned_quantized_and_exported_and_compared_with_the_ensemble(taught: Any) -> None:
    project, ran = taught
    rows = {(row["step"], row["variant"]): row for row in ran.json["scoreboard"] if row["split"] == "validation"}
    teacher, student = rows["train:finetune", None], rows["distill:logits", None]
    assert teacher["size_mb"] > 2 * student["size_mb"]
    assert teacher["flip_rate"] == 0
    assert student["flip_rate"] < 0.3
    bundle = open_artifact(project.store.objects / ran.json["artifact"]["digest"])
    assert {variant["name"] for variant in bundle.meta["variants"]} == {"onnx-fp32", "onnx-int8"}


def test_the_ensemble_itself_is_served_as_one_graph_and_cannot_be_pruned(taught: Any) -> None:
    project, _ = taught
    exported = project.ftx("run", "train", "quantize:dynamic", "export", "--json", *VOTING, *DYNAMIC)
    assert exported.code == 0, exported.err
    assert next(step for step in exported.json["steps"] if step["step"] == "train:finetune")["cached"]
    rows = {(row["step"], row["variant"]): row for row in exported.json["scoreboard"]}
    assert rows["export:bundle", "onnx-fp32"]["flip_rate"] == 0
    predicted = project.ftx("predict", "latest:export", "a great happy car", "--json")
    assert predicted.code == 0, predicted.err
    refused = project.ftx("run", "train", "prune", *VOTING)
    assert refused.code == 2
    assert "an ensemble of 2 models, which cannot be pruned" in refused.err


def test_a_teacher_is_named_by_the_step_that_made_it(taught: Any) -> None:
    project, _ = taught
    ran = project.ftx("run", "distill", "--json", "--set", "distill.teacher=latest:distill")
    assert ran.code == 0, ran.err
    steps = [step["step"] for step in ran.json["steps"]]
    assert steps == ["data:clean", "evaluate:validation", "distill:logits", "evaluate:validation", "evaluate:test"]
    assert ran.json["scoreboard"][0]["step"] == "distill.teacher"
