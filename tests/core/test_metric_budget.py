"""`budget.metric_drop`, and rows of tasks that have no accuracy."""

from __future__ import annotations

import io

import pytest

from ftx.config import BudgetTable
from ftx.console import print_scoreboard
from ftx.scoreboard import Row, breaches, rows_of


def rows(task: str | None, **figures: float) -> list[Row]:
    model = {"variant": None, "quantized": True, **figures}
    return rows_of("train:finetune", {"split": "validation", "rows": 50, "task": task, "models": [model]})


@pytest.mark.parametrize(
    ("task", "metric", "before", "after", "is_broken"),
    [
        ("multi-label-classification", "f1_micro", 0.9, 0.85, True),
        ("multi-label-classification", "f1_micro", 0.85, 0.9, False),
        ("regression", "rmse", 1.0, 1.05, True),
        ("regression", "rmse", 1.05, 1.0, False),
    ],
)
def test_metric_drop_limits_what_the_tasks_own_metric_gets_worse_by(task, metric, before, after, is_broken):
    [reference], found = rows(task, **{metric: before}), rows(task, **{metric: after})
    broken = breaches(found, reference, BudgetTable(metric_drop=0.02))
    assert [breach.limit for breach in broken] == ["metric_drop"] * is_broken
    assert all(breach.actual == pytest.approx(0.05) for breach in broken)


def test_an_evaluation_that_names_no_task_is_one_of_text_classification():
    metrics = {"split": "test", "rows": 5, "models": [{"variant": None, "accuracy": 0.5, "f1_macro": 0.4}]}
    [row] = rows_of("train:finetune", metrics)
    assert (row.accuracy, row.metric, row.score) == (0.5, "f1_macro", 0.4)


@pytest.mark.parametrize(
    ("task", "figures", "titles", "absent"),
    [
        ("regression", {"rmse": 1.5}, ["RMSE"], ["accuracy", "macro F1"]),
        ("multi-label-classification", {"f1_micro": 0.9, "f1_macro": 0.8}, ["micro F1", "macro F1"], ["accuracy"]),
        ("text-classification", {"accuracy": 0.9, "f1_macro": 0.8}, ["accuracy", "macro F1"], ["micro F1", "score"]),
    ],
)
def test_the_scoreboard_has_the_columns_of_the_task(task, figures, titles, absent):
    out = io.StringIO()
    print_scoreboard(rows(task, **figures), file=out, width=160)
    assert all(title in out.getvalue() for title in titles)
    assert not any(title in out.getvalue() for title in absent)
