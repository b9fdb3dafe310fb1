"""`ftx run train prune quantize export`, and what a plan with prune steps refuses."""

from __future__ import annotations

from typing import Any

import pytest

from ftx.artifacts import open_artifact

pytestmark = pytest.mark.slow

PRUNE = """
[prune]
flops = 0.6
rounds = 2
ffn_multiple = 8
learning_rate = 1e-3
recovery_epochs = 1
calibration_rows = 64
"""


@pytest.fixture(scope="module")
def pruned(make_project: Any) -> Any:
    project = make_project()
    project.write((project.root / "ftx.toml").read_text() + PRUNE)
    ran = project.ftx("run", "train", "prune", "quantize", "export", "--json")
    assert ran.code == 0, ran.err
    return project, ran


def test_a_pruned_model_is_quantized_exported_and_evaluated(pruned: Any) -> None:
    project, ran = pruned
    steps = [step["step"] for step in ran.json["steps"]]
    assert steps[3:5] == ["prune:structured", "evaluate:validation"]
    metrics = ran.json["steps"][3]["metrics"]
    assert metrics["flops_share"] <= 0.6
    rows = {(row["step"], row["variant"]): row for row in ran.json["scoreboard"] if row["split"] == "validation"}
    assert rows["prune:structured", None]["flip_rate"] < 0.2
    assert rows["export:bundle", "onnx-int8"]["accuracy"] >= rows["train:finetune", None]["accuracy"] - 0.2
    bundle = open_artifact(project.store.objects / ran.json["artifact"]["digest"])
    assert len(bundle.meta["variants"]) == 4
    predicted = project.ftx("predict", "latest:prune", "a great car", "--json")
    assert predicted.code == 0, predicted.err


def test_the_same_command_again_does_nothing_twice(pruned: Any) -> None:
    project, _ = pruned
    again = project.ftx("run", "train", "prune", "quantize", "export", "--json")
    assert all(step["cached"] for step in again.json["steps"])


def test_prune_steps_follow_each_other(pruned: Any) -> None:
    project, _ = pruned
    words = ("train", "prune:layers", "prune:structured", "prune:vocabulary", "prune:width", "prune:magnitude")
    ran = project.ftx(
        "run", *words, "export", "--json", "--set", "prune.width.width=8", "--set", 'prune.magnitude.pattern="2:4"'
    )
    assert ran.code == 0, ran.err
    made = {step["step"]: step["metrics"] for step in ran.json["steps"] if step["step"].startswith("prune:")}
    assert len(made["prune:layers"]["layers"]) == 1
    assert made["prune:structured"]["heads"]["before"] == [2]
    assert made["prune:width"]["ffn_widths"]["after"] == [8]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("prune.flops=1.5",), "prune.flops = 1.5"),
        (("prune.flops=0",), "prune.flops = 0"),
        (("prune.layer=3",), "unknown setting prune.layer"),
    ],
)
def test_a_target_out_of_range_is_a_problem_of_the_plan(pruned: Any, settings: tuple[str, ...], message: str) -> None:
    project, _ = pruned
    ran = project.ftx("run", "train", "prune", "export", *(part for one in settings for part in ("--set", one)))
    assert ran.code == 2
    assert message in ran.err


def test_a_target_that_no_layer_can_meet_says_the_nearest_that_can(pruned: Any) -> None:
    project, _ = pruned
    ran = project.ftx("run", "train", "prune", "--set", "prune.flops=0.01")
    assert ran.code == 2
    assert "prune.flops = 0.01 is out of reach" in ran.err
    assert any(hint.startswith("set prune.flops to 0.") for hint in ran.hints)


def test_prune_behind_quantize_is_refused(pruned: Any) -> None:
    project, _ = pruned
    ran = project.ftx("run", "train", "quantize", "prune", "export")
    assert ran.code == 2
    assert "ftx run train prune quantize export" in ran.err
