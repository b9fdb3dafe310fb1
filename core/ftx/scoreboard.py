"""The scoreboard: a row for each model that a run evaluated, and the budget that the rows are held against."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ftx.config import BudgetTable
from ftx.tasks import TASKS, TEXT_CLASSIFICATION


@dataclass(frozen=True)
class Row:
    """One model, measured: a checkpoint, or one variant of a bundle. None is what was not measured."""

    step: str
    """The step that made the model; `given` for the model that the run started from, `reference` beside another."""
    variant: str | None
    split: str
    rows: int
    accuracy: float | None
    f1_macro: float | None
    f1_micro: float | None
    """The three are None where the task has no such figure."""
    flip_rate: float | None
    """Share of rows whose prediction is not the reference's."""
    max_logit_difference: float | None
    p50_ms: float | None
    """Median latency at batch 1, milliseconds, on this machine."""
    p95_ms: float | None
    rows_per_second: float | None
    size_mb: float | None
    """Size on disk, megabytes of 10^6 bytes."""
    quantized: bool
    batch_flip_rate: float | None = None
    """Share of the texts tried whose label depends on which texts share their batch, or on padding."""
    batch_invariant: bool | None = None
    """Whether the model is made not to depend on them, and no label did when it was tried."""
    metric: str = "f1_macro"
    """Name of the task's own metric."""
    score: float | None = None
    """Its value."""
    higher_is_better: bool = True


@dataclass(frozen=True)
class Breach:
    """A limit of the budget that a row is beyond."""

    row: Row
    limit: str
    allowed: float
    actual: float

    def __str__(self) -> str:
        name = self.row.step if self.row.variant is None else f"{self.row.step} {self.row.variant}"
        if self.limit == "batch_invariant":
            return f"{name}: labels depend on what shares their batch ({self.actual:.2%} of the texts tried)"
        return f"{name}: {self.limit} is {self.actual:.4g}, the budget allows {self.allowed:.4g}"


_ADVICE = {
    "accuracy_drop": "leave sensitive layers in fp32 (quantize.exclude), or allow more (budget.accuracy_drop)",
    "f1_macro_drop": "leave sensitive layers in fp32 (quantize.exclude), or allow more (budget.f1_macro_drop)",
    "metric_drop": "leave sensitive layers in fp32 (quantize.exclude), or allow more (budget.metric_drop)",
    "flip_rate": "see which rows changed (ftx show latest:evaluate:validation), or allow more (budget.flip_rate)",
    "latency_p95_ms": "quantize, cut train.max_length, or start from a smaller encoder",
    "batch_invariant": "quantize with fixed scales for activations: quantize:static or quantize:auto",
    "size_mb": "quantize (quantize.embeddings = true shrinks most), or start from a smaller encoder",
}


def model_name(model: Mapping[str, Any]) -> str:
    """What an evaluation calls one of its `models`: its variant, `torch` for a checkpoint, or `reference`."""
    return str(model.get("step") or model["variant"] or "torch")


def rows_of(step: str, metrics: Mapping[str, Any]) -> list[Row]:
    """The rows in an evaluation's metrics: `{"split", "rows", "models": [{"variant", "accuracy", …}]}`."""
    names = Row.__dataclass_fields__.keys() - {"step", "split", "rows", "metric", "score", "higher_is_better"}
    task = TASKS[metrics.get("task", TEXT_CLASSIFICATION)]
    return [
        Row(
            model.get("step", step),
            split=metrics["split"],
            rows=metrics["rows"],
            metric=task.metric,
            score=model.get(task.metric),
            higher_is_better=task.higher_is_better,
            **{name: model.get(name) for name in names},
        )
        for model in metrics.get("models", ())
    ]


def breaches(rows: Sequence[Row], reference: Row | None, budget: BudgetTable) -> list[Breach]:
    """What keeps every candidate among `rows` (one step's) outside the budget; empty if one is within it.

    A bundle's candidates are its quantized variants, or the fp32 ones where nothing is quantized.
    """
    found = [breaches_of(row, reference, budget) for row in gated(rows)]
    return [] if not all(found) else [breach for breaches_of_row in found for breach in breaches_of_row]


def gated(rows: Sequence[Row]) -> Sequence[Row]:
    """Those of one step's rows that the budget is held against: the quantized ones, or all where none is."""
    return [row for row in rows if row.quantized] or rows


def advice(found: Iterable[Breach]) -> tuple[str, ...]:
    """What to try, a hint for each limit that was broken."""
    return tuple(dict.fromkeys(_ADVICE[breach.limit] for breach in found))


def nearest_budget(rows: Sequence[Row], reference: Row | None, budget: BudgetTable) -> tuple[str, ...]:
    """The hint that names the nearest budget that one of `rows` is within; none where one is within it already."""
    broken = [found for row in rows if (found := breaches_of(row, reference, budget))]
    if not broken or len(broken) < len(rows):
        return ()

    # Where a limit of zero is broken by all, the least that is lost decides.
    nearest = min(broken, key=lambda found: (_excess(found), max(breach.actual for breach in found)))
    needed = " ".join(f"--set budget.{breach.limit}={_needed(breach)}" for breach in nearest)
    name = nearest[0].row.variant or nearest[0].row.step
    return (f"the nearest budget that {name} is within: {needed}",)


def excess_of(rows: Iterable[Row], reference: Row | None, budget: BudgetTable) -> float:
    """The share by which the nearest of `rows` exceeds the limit that it breaks most: 0 where one is within all."""
    return min((_excess(found) if (found := breaches_of(row, reference, budget)) else 0.0 for row in rows), default=0.0)


def _excess(found: Sequence[Breach]) -> float:
    return max(breach.actual / breach.allowed - 1 if breach.allowed else math.inf for breach in found)


def _needed(breach: Breach) -> str:
    return "false" if breach.limit == "batch_invariant" else _rounded_up(breach.actual)


def _rounded_up(value: float) -> str:
    """`value` with three digits, none of them too small."""
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{math.ceil(value * 10.0**digits - 1e-9) / 10.0**digits:g}"


def as_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]


def breaches_of(row: Row, reference: Row | None, budget: BudgetTable) -> list[Breach]:
    """The limits that one row is beyond; what was not measured breaks none."""
    measured: dict[str, float | None] = {"flip_rate": row.flip_rate}
    if reference is not None:
        measured["accuracy_drop"] = _lost(reference.accuracy, row.accuracy)
        measured["f1_macro_drop"] = _lost(reference.f1_macro, row.f1_macro)
        lost = _lost(reference.score, row.score)
        measured["metric_drop"] = lost if lost is None or row.higher_is_better else -lost
    if row.variant is not None:
        # A checkpoint is not what gets deployed: its latency in eager torch and its size are not gated.
        measured |= {"latency_p95_ms": row.p95_ms, "size_mb": row.size_mb}
    found = [
        Breach(row, name, limit, actual)
        for name, limit in budget.limits().items()
        if (actual := measured.get(name)) is not None and actual > limit + 1e-9
    ]
    if budget.batch_invariant and row.batch_invariant is False:
        found.append(Breach(row, "batch_invariant", 0.0, row.batch_flip_rate or 0.0))
    return found


def _lost(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else before - after
