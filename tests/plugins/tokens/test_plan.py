"""What does not go with token classification is refused while the plan is made, and says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import ftx
from ftx.cli import cli
from ftx.errors import FtxError, PlanError

PLAN = """[model]
name = "{encoder}"
task = "token-classification"
[data]
train = "rows.conll"
"""


@pytest.fixture
def config(tiny_encoder: Path, tmp_path: Path) -> Path:
    (tmp_path / "rows.conll").write_text("a\tB-PER\nb\tO\n", encoding="utf-8")
    path = tmp_path / "ftx.toml"
    path.write_text(PLAN.format(encoder=tiny_encoder), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (["augment", "train"], "augment:synonyms"),
        (["train", "distill"], "distill:logits"),
        (["train", "prune"], "prune:structured"),
        (["train", "prune:layers"], "prune:layers"),
        (["train", "prune:width"], "prune:width"),
        (["train", "quantize:qat"], "quantize:qat"),
    ],
)
def test_a_step_of_whole_texts_is_refused(config: Path, words: list[str], step: str) -> None:
    with pytest.raises(PlanError) as caught:
        ftx.run(words, config)
    refused = [problem for problem in caught.value.problems if problem.where == step]
    assert "does not work for token-classification, only for text-classification" in str(refused[0])
    assert refused[0].hints == (f"leave {step} out, or use another method: ftx steps",)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["train.r_drop=1"], "train.r_drop is for text-classification, and model.task is token-classification"),
        (["train.class_weights=balanced"], "train.class_weights is for text-classification"),
        (["train.loss=focal"], "train.loss is for text-classification"),
        (["train.sampler=balanced"], "train.sampler is for text-classification"),
        (["train.label_smoothing=0.1"], "train.label_smoothing is for text-classification"),
        (["train.thresholds=half"], "train.thresholds is for multi-label-classification"),
        (["train.combine=hard-vote", "train.seeds=[1, 2]"], "train.combine = 'hard-vote' is for text-classification"),
        (["train.metric=accuracy"], "train.metric = 'accuracy', which token-classification does not have"),
        (["data.folds=3"], "data.folds is for text-classification"),
        (["data.tolerance=0.1"], "data.tolerance is for regression"),
        (["budget.accuracy_drop=0.1"], "no figure that accuracy_drop could limit"),
    ],
)
def test_a_setting_of_another_task_is_refused(config: Path, settings: list[str], said: str) -> None:
    with pytest.raises(PlanError) as caught:
        ftx.run(["train"], config, settings=settings)
    assert said in str(caught.value)
    assert all(problem.hints for problem in caught.value.problems)


def test_an_audit_is_refused(config: Path) -> None:
    with pytest.raises(FtxError, match="an audit is for text-classification, and"):
        cli(["data", "audit", "--config", str(config)], standalone_mode=False)


def test_a_project_of_entities_can_be_begun(tmp_path: Path, tiny_encoder: Path) -> None:
    (tmp_path / "rows.conll").write_text("a\tB-PER\nb\tO\n", encoding="utf-8")
    out = tmp_path / "new.toml"
    options = [
        "--task",
        "token-classification",
        "--model",
        str(tiny_encoder),
        "--data",
        "rows.conll",
        "--out",
        str(out),
    ]
    began = CliRunner().invoke(cli, ["init", *options])
    assert began.exit_code == 0, began.output
    planned = CliRunner().invoke(cli, ["plan", "train", "quantize", "export", "--config", str(out)])
    assert planned.exit_code == 0, planned.output
