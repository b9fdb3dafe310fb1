"""What a run lost and gained, in three cells, whatever its task; by the run's record alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftx.scoreboard import Row
from ftx.scoreboard_table import by_split
from ftx.tasks import FIGURES, IN_UNITS, TASKS, TEXT_CLASSIFICATION
from ftx_plugins.report import figures
from ftx_plugins.report.gather import RunSeen
from ftx_plugins.report.headline import Figure, rate, size
from ftx_plugins.report.scores import is_outcome

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Cells:
    """Empty where the run measured nothing of the kind."""

    quality: Figure | None = None
    speed: Figure | None = None
    size: Figure | None = None


def cells(run: RunSeen) -> Cells:
    """Of the model that the run ends with, against its reference where there is one."""
    outcome, reference = run.outcome, run.reference
    if outcome is None or run.final is None:
        return Cells()
    quality = _quality(outcome, metric_of(run))
    if reference is None or outcome is reference or run.final.step.metrics.get("is_reference"):
        alone = Figure("Size", figures.megabytes(outcome["size_mb"])) if outcome.get("size_mb") else None
        return Cells(quality, None, alone)
    return Cells(quality, rate(outcome, reference, None), size(outcome, reference))


def metric_of(run: RunSeen) -> str:
    """The figure that says how good the run's models are."""
    task = str(run.plan.get("task", TEXT_CLASSIFICATION))
    if task == TEXT_CLASSIFICATION or task not in TASKS:
        return "accuracy"
    return TASKS[task].metric


def figure(name: str, value: float | None) -> str:
    """A figure of quality as text: shares in percent."""
    return figures.plain(value, 4) if name in IN_UNITS else figures.percent(value)


def _quality(outcome: Json, name: str) -> Figure | None:
    if outcome.get(name) is None:
        return None
    title, value = FIGURES.get(name, name), figure(name, outcome[name])
    against = outcome.get("against_reference", {}).get(name)
    if against is None:
        return Figure(title, value)
    ends = against.get("interval")
    lower, upper = ends or (0.0, 0.0)
    worse, better = (lower > 0, upper < 0) if name in IN_UNITS else (upper < 0, lower > 0)
    if name in IN_UNITS:
        change = f"{against['difference']:+.4f}".replace("-", "−")
    else:
        change = f"{figures.points(against['difference'])} points"
    tone = "loss" if worse else "gain" if better else ""
    return Figure(title, value, change, "" if tone or not ends else "within chance", tone)


@dataclass(frozen=True)
class Board:
    """The scoreboard of one split: only the columns in which something was measured."""

    split: str
    rows: int
    columns: tuple[str, ...]
    lines: tuple[tuple[str, str, bool, tuple[str, ...]], ...]
    """(variant, step, whether it is the outcome, cells)."""


def boards(run: RunSeen) -> list[Board]:
    return [_board(run, split, rows) for split, rows in by_split(run.rows).items()]


def _board(run: RunSeen, split: str, rows: Sequence[Row]) -> Board:
    cells: Mapping[str, Callable[[Row], str]] = {
        "accuracy": lambda row: figures.percent(row.accuracy),
        "macro F1": lambda row: figures.percent(row.f1_macro),
        FIGURES.get(rows[0].metric, rows[0].metric): lambda row: figure(row.metric, row.score),
        "labels changed": lambda row: figures.percent(row.flip_rate, 2),
        "p95": lambda row: figures.milliseconds(row.p95_ms),
        "rows/s": lambda row: figures.rate(row.rows_per_second),
        "size": lambda row: figures.megabytes(row.size_mb),
    }
    columns = {title: [cell(row) for row in rows] for title, cell in cells.items()}
    shown = {title: found for title, found in columns.items() if any(each != figures.NONE for each in found)}
    lines = tuple(
        (
            "reference" if row.step == "reference" else row.variant or "torch",
            "" if row.step == "reference" else row.step,
            is_outcome(run, row, split),
            tuple(found[place] for found in shown.values()),
        )
        for place, row in enumerate(rows)
    )
    return Board(split, rows[0].rows, tuple(shown), lines)
