"""The scoreboard of a report: a table for each split, and quality over what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ftx.config import BudgetTable
from ftx.scoreboard import Row, breaches_of, gated, model_name
from ftx_plugins.report import figures
from ftx_plugins.report.charts import Point, scatter
from ftx_plugins.report.gather import RunSeen

COLUMNS = ("accuracy", "macro F1", "flips", "p50", "p95", "rows/s", "size", "batch flips")
SHAPES = {"openvino": "square", "onnx": "circle", "torchscript": "triangle"}
OTHER_SHAPE = "diamond"
"""Of torch, and of formats that plugins add."""


@dataclass(frozen=True)
class Line:
    """One model of the scoreboard; `cells` are (figure, its interval), in the order of `COLUMNS`."""

    step: str
    variant: str
    cells: tuple[tuple[str, str], ...]
    beyond: tuple[str, ...]
    """The limits of the budget that it is beyond."""
    outcome: bool
    reference: bool


@dataclass(frozen=True)
class Board:
    split: str
    rows: int
    lines: tuple[Line, ...]


def boards(run: RunSeen) -> list[Board]:
    """A table for each split, of the headline's first; the models in the order in which they were measured."""
    final = run.final.split if run.final else ""
    splits = sorted(dict.fromkeys(row.split for row in run.rows), key=lambda split: split != final)
    return [_board(run, split) for split in splits]


def _board(run: RunSeen, split: str) -> Board:
    rows = [row for row in run.rows if row.split == split]
    reference = _reference(run, split)
    intervals = _intervals(run, split)
    gated_ones = {id(row) for step in {row.step for row in rows} for row in gated([r for r in rows if r.step == step])}
    lines = []
    for row in rows:
        is_reference = row is reference
        beyond = [] if is_reference or id(row) not in gated_ones else breaches_of(row, reference, run.budget)
        # The test split is looked at for the report; nothing is gated by it.
        limits = tuple(breach.limit for breach in beyond) if split != "test" else ()
        own = intervals.get((row.step, row.variant), {})
        lines.append(
            Line(row.step, row.variant or "torch", _cells(row, own), limits, is_outcome(run, row, split), is_reference)
        )
    return Board(split, rows[0].rows, tuple(lines))


def _reference(run: RunSeen, split: str) -> Row | None:
    """The reference's row: beside the others, or of the first evaluation of the split."""
    rows = [row for row in run.rows if row.split == split]
    return next((row for row in rows if row.step == "reference"), rows[0] if rows else None)


def is_outcome(run: RunSeen, row: Row, split: str) -> bool:
    """Whether a row of the scoreboard is of the model that the run ends with, as the final evaluation found it."""
    final, outcome = run.final, run.outcome
    if final is None or outcome is None or final.split != split or final.subject != row.step:
        return False
    return (row.variant or "torch") == model_name(outcome)


def _intervals(run: RunSeen, split: str) -> dict[tuple[str, str | None], Mapping[str, Any]]:
    found: dict[tuple[str, str | None], Mapping[str, Any]] = {}
    for each in run.evaluated:
        if each.split == split:
            for model in each.models:
                found[model.get("step") or each.subject, model.get("variant")] = model.get("intervals", {})
    return found


def _cells(row: Row, intervals: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return (
        (figures.plain(row.accuracy), figures.interval(intervals.get("accuracy"), 3)),
        (figures.plain(row.f1_macro), figures.interval(intervals.get("f1_macro"), 3)),
        (
            figures.percent(row.flip_rate, 2),
            figures.percent_interval(intervals.get("flip_rate")) if row.flip_rate else "",
        ),
        (figures.milliseconds(row.p50_ms), ""),
        (figures.milliseconds(row.p95_ms), ""),
        (figures.rate(row.rows_per_second), ""),
        (figures.megabytes(row.size_mb), ""),
        (figures.percent(row.batch_flip_rate, 2), ""),
    )


@dataclass(frozen=True)
class Scatters:
    """Accuracy over latency and over size, drawn of the runs that were evaluated on the split."""

    split: str
    charts: tuple[Markup, ...]
    shapes: tuple[str, ...]
    """The formats in it, for the key."""
    budget: bool


def scatters(runs: Sequence[RunSeen], *, names: Sequence[str]) -> Scatters | None:
    """None where nothing with a cost was measured. With several runs each has a colour; the region is of the first
    run's budget."""
    first = next((run for run in runs if run.final is not None), None)
    if first is None or first.final is None:
        return None
    split = first.final.split
    reference = _reference(first, split)
    floor = _floor(reference, first.budget)
    charts, shapes = [], set()
    for title, cost, limit in (
        ("p95 of one text, ms", "p95_ms", first.budget.latency_p95_ms),
        ("size, MB", "size_mb", first.budget.size_mb),
    ):
        points = [point for place, run in enumerate(runs) for point in _points(run, split, cost, place, names[place])]
        if len(points) < 2:
            continue
        shapes |= {point.shape for point in points}
        charts.append(scatter(points, x_title=title, y_title="accuracy", x_limit=limit, y_limit=floor))
    if not charts:
        return None
    keyed = tuple(name for name, shape in (*SHAPES.items(), ("torch", OTHER_SHAPE)) if shape in shapes)
    limited = any(limit is not None for limit in (floor, first.budget.latency_p95_ms, first.budget.size_mb))
    return Scatters(split, tuple(charts), keyed, limited)


def _floor(reference: Row | None, budget: BudgetTable) -> float | None:
    if reference is None or budget.accuracy_drop is None or reference.accuracy is None:
        return None
    return reference.accuracy - budget.accuracy_drop


def _points(run: RunSeen, split: str, cost: str, series: int, name: str) -> Iterator[Point]:
    intervals = _intervals(run, split)
    for row in run.rows:
        x = getattr(row, cost)
        if row.split != split or x is None or row.accuracy is None:
            continue
        variant = row.variant or ("reference" if row.step == "reference" else row.step)
        ends = intervals.get((row.step, row.variant), {}).get("accuracy")
        said = f"{f'{name} ' if name else ''}{variant}: accuracy {figures.percent(row.accuracy)}"
        said += f" ({figures.percent_interval(ends)})" if ends else ""
        said += f", {figures.milliseconds(x) if cost == 'p95_ms' else figures.megabytes(x)}"
        shape = SHAPES.get((row.variant or "").partition("-")[0], OTHER_SHAPE)
        yield Point(
            name=variant,
            x=float(x),
            y=row.accuracy,
            interval=(ends[0], ends[1]) if ends else None,
            shape=shape,
            series=series,
            hollow=not row.quantized,
            marked=is_outcome(run, row, split),
            said=said,
        )
