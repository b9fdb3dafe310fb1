"""Techniques of training as a user meets them: the command line alone."""

from __future__ import annotations

import pytest

from ftx.console import cross_validation_lines
from ftx.errors import ExitCode

pytestmark = [pytest.mark.xdist_group("techniques"), pytest.mark.slow]

ROWS = [(f"{word} car n{row}", label) for row in range(20) for word, label in (("good", "yes"), ("bad", "no"))]


@pytest.fixture(scope="module")
def project(make_project):
    return make_project(rows=ROWS)


def test_cross_validation_is_shown_by_run_and_by_show(project):
    command = ("run", "train", "--set", "data.folds=2", "--set", "train.epochs=1")
    ran = project.ftx(*command)
    assert ran.code == 0, ran.err
    line = "train:finetune, 2 folds, mean ± standard deviation: accuracy "
    assert line in ran.out
    again = project.ftx(*command, "--json").json
    assert all(step["cached"] for step in again["steps"])
    assert line in project.ftx("show", again["run"]).out
    assert "by_fold: 2 entries" in project.ftx("show", "latest:train").out


def test_more_folds_than_rows_of_a_class_are_refused(project):
    ran = project.ftx("run", "train", "--set", "data.folds=40")
    assert ran.code == ExitCode.USER
    assert "data.folds = 40, but 'no' has" in ran.err
    assert ran.hints


def test_targets_of_lora_that_match_nothing_are_refused_with_the_names_that_there_are(project):
    ran = project.ftx("run", "train", "--set", "train.lora_rank=2", "--set", 'train.lora_targets=["q_proj"]')
    assert ran.code == ExitCode.USER
    assert "no linear layer is called q_proj" in ran.err
    assert "attention.self.query" in ran.err


def test_steps_without_folds_have_no_line():
    steps = [
        {"step": "data:clean", "metrics": {"folds": None}},
        {"step": "a:b", "metrics": None},
        {"step": "train:x", "metrics": {"folds": {"count": 3, "mean": {"loss": 0.5}, "std": {"loss": 0.25}}}},
    ]
    assert cross_validation_lines(steps) == ["train:x, 3 folds, mean ± standard deviation: loss 0.5000 ± 0.2500"]
