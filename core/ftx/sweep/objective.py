"""What a sweep makes as good as it can: a figure of the model that a run ends with, on validation rows."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftx.errors import Problem
from ftx.plan import Plan, made_by
from ftx.plugins import PluginManager
from ftx.runner import RunResult
from ftx.scoreboard import Row, breaches_of, gated, model_name
from ftx.tasks import LOWER_IS_BETTER, TASKS

LOSS = "loss"
MEASURED: Mapping[str, bool] = {
    LOSS: True,
    "flip_rate": True,
    "p50_ms": True,
    "p95_ms": True,
    "rows_per_second": False,
    "size_mb": True,
}
"""Figures that evaluations and trainings hold whatever the task and the metrics -> whether less is better."""


@dataclass(frozen=True)
class Objective:
    """The name of a figure, and whether less of it is better."""

    name: str
    minimize: bool

    @property
    def direction(self) -> str:
        return "minimize" if self.minimize else "maximize"


def choose_objective(name: str | None, plan: Plan, plugins: PluginManager) -> Objective | Problem:
    """The figure that is asked for; by default `metric` of the plan's last training, or the task's own where none
    trains."""
    task = TASKS[plan.model.task]
    metrics = {name: not metric.higher_is_better for name, metric in plugins.metrics(plan.model.task).items()}
    known = {**MEASURED, **{name: name in LOWER_IS_BETTER for name in task.figures}, **metrics}
    if name is None:
        own = [getattr(planned.config, "metric", None) for planned in plan.steps if planned.step.stage == "train"]
        name = str(own[-1]) if own and own[-1] not in (None, "auto") else task.metric
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
        return Problem(f"unknown objective {name} ({hint})", "--objective", (f"name one: {', '.join(sorted(known))}",))
    if name == LOSS and not any(planned.step.stage == "train" for planned in plan.steps):
        hint = f"name another, such as --objective {task.metric}"
        return Problem("the loss is that of a training, and no step of this plan trains", "--objective", (hint,))
    return Objective(name, known[name])


def measure(objective: Objective, result: RunResult, plan: Plan) -> float | None:
    """The figure that a run reached; None where it was not measured.

    Of a bundle it is that of the variant chosen for this machine or, where none was, the best of those that the
    budget is held against and allows.
    """
    if objective.name == LOSS:
        losses = (step["metrics"].get("validation", {}) for step in _of_stage("train", result))
        return next((figures[LOSS] for figures in losses if LOSS in figures), None)
    evaluations = [step for step in _of_stage("evaluate", result) if step["metrics"].get("split") != "test"]
    if not evaluations:
        return None
    models = evaluations[0]["metrics"].get("models", ())
    names = _variants(result, plan)
    values = [model.get(objective.name) for model in models if model_name(model) in names]
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return (min if objective.minimize else max)(numbers, default=None)


def _of_stage(stage: str, result: RunResult) -> list[dict[str, Any]]:
    """What the run's steps of a stage left, the last one first."""
    return [step for step in reversed(result.record.steps) if step["step"].partition(":")[0] == stage]


def _variants(result: RunResult, plan: Plan) -> set[str]:
    """Names, in the last evaluation, of the models that count."""
    for step in _of_stage("choose", result):
        if choice := step["metrics"].get("choice"):
            return {str(choice["variant"])}
    rows = [row for row in result.rows if row.split != "test"]
    last = gated([row for row in rows if row.step == rows[-1].step]) if rows else []
    allowed = [row for row in last if not breaches_of(row, _reference(rows, plan), plan.budget)]
    return {row.variant or "torch" for row in allowed or last}


def _reference(rows: Sequence[Row], plan: Plan) -> Row | None:
    producers = {planned.inputs.get("reference") for planned in plan.steps if planned.step.stage == "evaluate"}
    names = {made_by(producer) for producer in producers if producer}
    return next((row for row in rows if row.step in names), None)
