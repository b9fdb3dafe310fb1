"""What the terminal shows of a run: live bars on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ftx.scoreboard import Row
from ftx.tasks import FIGURES

PLAIN_INTERVAL = 10.0
"""Seconds between two lines of progress where there is no terminal."""
FULL_WIDTH = 140
"""Characters that the scoreboard may take where there is no terminal."""


class RunConsole:
    """Listens to a run's events and shows them. Use as a context: the live display ends with it."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._live = self._console.is_terminal and not quiet
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._task: Any = None
        self._steps: tuple[str, ...] = ()
        self._place = 0
        self._printed = 0.0

    def __enter__(self) -> RunConsole:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, name: str, values: Mapping[str, Any]) -> None:
        handler = getattr(self, f"_{name}", None)
        if handler is not None:
            handler(values)

    def _run_started(self, values: Mapping[str, Any]) -> None:
        self._steps = values["steps"]
        self._line(f"run {values['run']}: {' → '.join(self._steps)}", style="dim")

    def _step_started(self, values: Mapping[str, Any]) -> None:
        self._place += 1
        self._printed = time.monotonic()
        if self._live:
            self._task = self._bars.add_task(self._title(values["step"]), total=None, unit="", figures="")

    def _step_waiting(self, values: Mapping[str, Any]) -> None:
        self._line(f"{self._title(values['step'])}: another run is making this; waiting for it", style="yellow")

    def _step_progress(self, values: Mapping[str, Any]) -> None:
        figures = "  ".join(f"{name} {_short(figure)}" for name, figure in values["figures"].items())
        if self._live:
            self._bars.update(
                self._task, completed=values["done"], total=values["total"], unit=values["unit"], figures=figures
            )
        elif time.monotonic() - self._printed >= PLAIN_INTERVAL:
            self._printed = time.monotonic()
            total = f"/{_short(values['total'])}" if values["total"] else ""
            self._line(f"{self._title(values['step'])}: {_short(values['done'])}{total} {values['unit']}  {figures}")

    def _step_log(self, values: Mapping[str, Any]) -> None:
        self._line(f"  {values['message']}", style="dim")

    def _step_warning(self, values: Mapping[str, Any]) -> None:
        self._line(f"  warning: {values['message']}", style="yellow", always=True)

    def _warning(self, values: Mapping[str, Any]) -> None:
        self._line(f"warning: {values['message']}", style="yellow", always=True)

    def _step_finished(self, values: Mapping[str, Any]) -> None:
        self._end_task()
        result = values["result"]
        how = "hit" if result["cached"] else f"{result['seconds']:.1f} s"
        digest = f"  {result['artifact']['digest'][:12]}" if result["artifact"] else ""
        self._line(f"{self._title(values['step'])}: {how}{digest}", style="green")

    def _step_failed(self, values: Mapping[str, Any]) -> None:
        self._end_task()
        self._line(f"{self._title(values['step'])}: failed", style="red", always=True)

    def _run_finished(self, values: Mapping[str, Any]) -> None:
        self._end_task()

    def _end_task(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None

    def _title(self, step: str) -> str:
        return f"[{self._place}/{len(self._steps)}] {step}"

    def _line(self, text: str, style: str = "", *, always: bool = False) -> None:
        if always or not self._quiet:
            self._console.print(escape(text), style=style or None, soft_wrap=True)


def print_scoreboard(rows: Sequence[Row], *, file: Any = None, width: int | None = None) -> None:
    """The scoreboard as a table on stdout for each split: a row for each model. `width` is in characters."""
    console = Console(file=file or sys.stdout, highlight=False, width=width)
    if width is None and not console.is_terminal:
        console = Console(file=file or sys.stdout, highlight=False, width=FULL_WIDTH)
    for split in dict.fromkeys(row.split for row in rows):
        console.print(_scoreboard_table(split, [row for row in rows if row.split == split], console.width))


def cross_validation_lines(steps: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each of a run's `steps` whose metrics have `folds`: mean ± standard deviation of the figures."""
    return [
        f"{step['step']}, {folds['count']} folds, mean ± standard deviation: "
        + ", ".join(f"{name} {mean:.4f} ± {folds['std'][name]:.4f}" for name, mean in folds["mean"].items())
        for step in steps
        if isinstance(folds := (step["metrics"] or {}).get("folds"), Mapping)
    ]


@dataclass(frozen=True)
class _Column:
    title: str
    cell: Callable[[Row], str]
    rank: int
    """What a narrow terminal can do without goes first: the highest rank."""


_COLUMNS = (
    _Column("step", lambda row: row.step, 0),
    _Column("variant", lambda row: row.variant or "torch", 0),
    _Column("accuracy", lambda row: _figure(row.accuracy, 4), 0),
    _Column("macro F1", lambda row: _figure(row.f1_macro, 4), 2),
    _Column("score", lambda row: _figure(row.score, 4), 0),
    _Column("flips", lambda row: _percent(row.flip_rate), 0),
    _Column("p50 ms", lambda row: _figure(row.p50_ms, 2), 4),
    _Column("p95 ms", lambda row: _figure(row.p95_ms, 2), 1),
    _Column("rows/s", lambda row: _figure(row.rows_per_second, 0), 3),
    _Column("MB", lambda row: _figure(row.size_mb, 1), 1),
    _Column("batch flips", lambda row: _percent(row.batch_flip_rate), 5),
)


def _scoreboard_table(split: str, rows: Sequence[Row], width: int) -> Table:
    table = Table(
        title=f"{split} split, {rows[0].rows} rows", title_justify="left", title_style="bold", box=SIMPLE_HEAD
    )
    columns = [column for column in _COLUMNS if column.title not in _left_out(rows)]
    cells = {column: [column.cell(row) for row in rows] for column in columns}
    shown = list(columns)
    while len(shown) > 3 and _needed(shown, cells) > width:
        dropped = max(shown, key=lambda column: column.rank)
        shown.remove(dropped)
    for column in shown:
        title = FIGURES.get(rows[0].metric, rows[0].metric) if column.title == "score" else column.title
        table.add_column(title, justify="left" if column.title in ("step", "variant") else "right", no_wrap=True)
    for place in range(len(rows)):
        table.add_row(*(cells[column][place] for column in shown))
    return table


def _left_out(rows: Sequence[Row]) -> set[str]:
    """Columns of figures that the task does not have, and the score where a column of its own shows it."""
    left = {"accuracy"} if all(row.accuracy is None for row in rows) else set()
    left |= {"macro F1"} if all(row.f1_macro is None for row in rows) else set()
    return left | ({"score"} if rows[0].metric == "f1_macro" else set())


def _needed(shown: Sequence[_Column], cells: Mapping[_Column, Sequence[str]]) -> int:
    """Characters that the table takes: rich pads each cell by two, and draws one more between columns."""
    return sum(max(len(text) for text in (column.title, *cells[column])) + 3 for column in shown) + 1


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if value != int(value) or abs(value) > 1e9 else str(int(value))
    return str(value)
