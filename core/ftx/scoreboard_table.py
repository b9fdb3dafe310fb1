"""The scoreboard as columns and cells of text, for the terminal and for notebooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ftx.scoreboard import Row
from ftx.tasks import FIGURES


@dataclass(frozen=True)
class Column:
    title: str
    cell: Callable[[Row], str]
    rank: int
    """What a narrow terminal can do without goes first: the highest rank."""

    @property
    def is_text(self) -> bool:
        return self.title in ("step", "variant", "model")


COLUMNS = (
    Column("step", lambda row: row.step, 0),
    Column("variant", lambda row: row.variant or "torch", 0),
    Column("accuracy", lambda row: _figure(row.accuracy, 4), 0),
    Column("macro F1", lambda row: _figure(row.f1_macro, 4), 2),
    Column("score", lambda row: _figure(row.score, 4), 0),
    Column("flips", lambda row: _percent(row.flip_rate), 0),
    Column("p50 ms", lambda row: _figure(row.p50_ms, 2), 4),
    Column("p95 ms", lambda row: _figure(row.p95_ms, 2), 1),
    Column("rows/s", lambda row: _figure(row.rows_per_second, 0), 3),
    Column("MB", lambda row: _figure(row.size_mb, 1), 1),
    Column("batch flips", lambda row: _percent(row.batch_flip_rate), 5),
)

MODEL = Column("model", lambda row: row.variant or row.step, 0)
"""Takes the place of the step and the variant where there is no room for both."""


def by_split(rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    """Split -> its rows, in the order in which the splits were first looked at."""
    return {split: [row for row in rows if row.split == split] for split in dict.fromkeys(row.split for row in rows)}


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """The columns that say something of these rows, which are of one task."""
    left_out = {"accuracy"} if all(row.accuracy is None for row in rows) else set()
    left_out |= {"macro F1"} if all(row.f1_macro is None for row in rows) else set()
    # A column of its own shows it already.
    left_out |= {"score"} if rows[0].metric == "f1_macro" else set()
    return [column for column in COLUMNS if column.title not in left_out]


def title_of(column: Column, rows: Sequence[Row]) -> str:
    """What stands above the column: of the score, the name of the task's own metric."""
    return FIGURES.get(rows[0].metric, rows[0].metric) if column.title == "score" else column.title


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
