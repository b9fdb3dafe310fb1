"""Where a choice among variants stands in a plan, and how the budget reaches it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftx.config import BudgetTable
from ftx.events import Events
from ftx.planner import make_plan
from ftx.plugins import PluginManager
from ftx.runner import run_plan
from ftx.scoreboard import Row, nearest_budget


def ids(words: list[str], config: Any, plugins: PluginManager) -> list[str]:
    return [planned.id for planned in make_plan(words, config, plugins).steps]


def test_a_plan_with_an_export_ends_with_a_choice_before_the_test_split(project: Any, choosing_plugin: Any) -> None:
    plan = make_plan(["train", "quantize", "export"], project(), choosing_plugin)
    assert [planned.id for planned in plan.steps[-4:]] == [
        "export:words",
        "evaluate:validation#3",
        "choose:words",
        "evaluate:test",
    ]
    choose, test = plan.steps[-2:]
    assert choose.added
    assert choose.inputs == {"model": "export:words", "evaluation": "evaluate:validation#3"}
    assert test.inputs["model"] == "choose:words"


@pytest.mark.parametrize(
    ("words", "behind"),
    [
        (["train", "export:words", "export:letters"], "evaluate:validation#3"),
        (["train", "export", "quantize"], "evaluate:validation#3"),
        (["train", "export", "evaluate"], "evaluate:validation#2"),
        (["train", "export", "prune", "export"], "evaluate:validation#4"),
    ],
)
def test_it_stands_once_behind_the_last_bundle(
    project: Any, choosing_plugin: Any, words: list[str], behind: str
) -> None:
    planned = ids(words, project(), choosing_plugin)
    assert planned.count("choose:words") == 1
    assert planned[planned.index("choose:words") - 1] == behind


def test_no_choice_is_added_without_a_bundle_or_where_it_is_turned_off_or_asked_for(
    project: Any, choosing_plugin: Any
) -> None:
    assert "choose:words" not in ids(["train", "quantize"], project(), choosing_plugin)
    off = project("[choose]\nenabled = false")
    assert "choose:words" not in ids(["train", "export"], off, choosing_plugin)
    asked = ids(["train", "export", "choose"], off, choosing_plugin)
    assert asked[-3:] == ["evaluate:validation#2", "choose:words", "evaluate:test"]


def test_the_budget_is_in_the_key_of_the_step_that_chooses_by_it_and_of_no_other(
    project: Any, choosing_plugin: Any, calls: Any
) -> None:
    def run(*settings: str) -> Any:
        plan = make_plan(["train", "export"], project("[train]\ntext = 'a'", *settings), choosing_plugin)
        return run_plan(plan, choosing_plugin, Events([]))

    assert run("budget.flip_rate=0.5").status == "done"
    before = calls()
    assert run("budget.flip_rate=0.5").status == "done"
    assert calls() == before
    again = run("budget.flip_rate=0.6")
    assert calls() == [*before, "choose:words"]
    chosen = next(step for step in again.record.steps if step["step"] == "choose:words")

    assert (Path(chosen["artifact"]["path"]) / "words.txt").read_text() == '{"flip_rate": 0.6}'


def row(variant: str, **figures: Any) -> Row:
    quality = {"accuracy": 0.9, "f1_macro": 0.9, "f1_micro": 0.9, "flip_rate": 0.0, **figures}
    return Row(
        "export",
        variant,
        "validation",
        100,
        max_logit_difference=0.0,
        p50_ms=1.0,
        p95_ms=2.0,
        rows_per_second=1.0,
        **{"size_mb": 10.0, "quantized": True, **quality},
    )


def test_the_nearest_budget_is_that_of_the_row_that_is_least_beyond_it() -> None:
    reference = row("reference")
    rows = [row("a", accuracy=0.8, size_mb=5.0), row("b", accuracy=0.8766, flip_rate=0.0301)]
    budget = BudgetTable(accuracy_drop=0.02, flip_rate=0.03)
    assert nearest_budget(rows, reference, budget) == (
        "the nearest budget that b is within: --set budget.accuracy_drop=0.0234 --set budget.flip_rate=0.0301",
    )
    assert nearest_budget(rows, reference, BudgetTable(accuracy_drop=0.05)) == ()
    assert nearest_budget([], reference, budget) == ()


def test_the_nearest_budget_is_never_rounded_down() -> None:
    [hint] = nearest_budget([row("a", flip_rate=1 / 3)], row("reference"), BudgetTable(flip_rate=0.0))
    assert hint.endswith("budget.flip_rate=0.334")
