"""What the terminal shows of a run: live bars on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ftx.pace import Pace, duration_text, rate_text
from ftx.scoreboard import Row
from ftx.scoreboard_table import MODEL, Column, by_split, columns_of, title_of

PLAIN_INTERVAL = 10.0
"""Seconds between two lines of progress where there is no terminal."""
LEAST_COLUMNS = 4
"""Of the scoreboard: the step, the variant, a figure of quality, flips."""
FULL_WIDTH = 140
"""Characters that the scoreboard may take where there is no terminal."""


WIDE = 80
"""Characters of a terminal from which on there is room for a bar."""


class RunConsole:
    """Listens to a run's events and shows them. Use as a context: the live display ends with it.

    `console` and `clock` (seconds) are those of a test; `live` says whether bars are drawn, which by itself is so on a
    terminal that can move its cursor and is nobody's log.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        live: bool | None = None,
    ) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._clock = clock
        self._quiet = quiet
        self._live = (_is_live(self._console) if live is None else live) and not quiet
        self._bars = Progress(
            TextColumn("{task.description}"),
            *([BarColumn(bar_width=16)] if self._console.width >= WIDE else []),
            TimeElapsedColumn(),
            TextColumn("{task.fields[said]}"),
            console=self._console,
            get_time=clock,
            transient=True,
            disable=not self._live,
        )
        self._pace = Pace(clock)
        self._task: Any = None
        self._steps: tuple[str, ...] = ()
        self._place = 0
        self._printed = 0.0

    def __enter__(self) -> RunConsole:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @property
    def display(self) -> RenderableType:
        """What is drawn again and again at the foot of a terminal."""
        return self._bars.get_renderable()

    def __call__(self, name: str, values: Mapping[str, Any]) -> None:
        handler = getattr(self, f"_{name}", None)
        if handler is not None:
            handler(values)

    def _run_started(self, values: Mapping[str, Any]) -> None:
        self._steps = values["steps"]
        self._line(f"run {values['run']}: {' → '.join(self._steps)}", style="dim", soft_wrap=not self._live)

    def _step_started(self, values: Mapping[str, Any]) -> None:
        self._place += 1
        self._printed = self._clock()
        self._pace = Pace(self._clock)
        if self._live:
            self._task = self._bars.add_task(escape(self._title(values["step"])), total=None, said="")

    def _step_waiting(self, values: Mapping[str, Any]) -> None:
        self._line(f"{self._title(values['step'])}: another run is making this; waiting for it", style="yellow")

    def _step_progress(self, values: Mapping[str, Any]) -> None:
        self._pace.update(values["done"], values["total"], values["unit"])
        parts = self._parts(values)
        if self._live:
            said = escape(_fitting(parts, self._room(values["step"])))
            self._bars.update(self._task, completed=values["done"], total=values["total"], said=said)
        elif self._clock() - self._printed >= PLAIN_INTERVAL:
            self._printed = self._clock()
            self._line(f"{self._title(values['step'])}: {'  '.join(parts)}")

    def _parts(self, values: Mapping[str, Any]) -> list[str]:
        """What is said of a step's progress; what comes first is needed most."""
        total = f"/{_short(values['total'])}" if values["total"] else ""
        parts = [f"{_short(values['done'])}{total} {values['unit']}"]
        if (left := self._pace.seconds_left) is not None:
            parts.append(f"{duration_text(left)} left")
        # Seconds go by at one a second.
        if (rate := self._pace.rate) is not None and values["unit"] != "s":
            parts.append(rate_text(rate))
        return parts + [f"{name} {_short(figure)}" for name, figure in values["figures"].items()]

    def _room(self, step: str) -> int:
        """Characters beside the title, the bar and the time."""
        bar = 17 if self._console.width >= WIDE else 0
        return self._console.width - len(self._title(step)) - bar - len(" 0:00:00 ") - 1

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

    def _line(self, text: str, style: str = "", *, always: bool = False, soft_wrap: bool = True) -> None:
        if always or not self._quiet:
            self._console.print(escape(text), style=style or None, soft_wrap=soft_wrap)


def _is_live(console: Console) -> bool:
    """Whether lines can be drawn again. Colours may be forced upon a log; a log is still no terminal."""
    return console.is_interactive and console.file.isatty() and not os.environ.get("CI")


def _fitting(parts: Sequence[str], room: int) -> str:
    """As many of `parts`, from the first on, as fit."""
    said = ""
    for part in parts:
        longer = f"{said}  {part}" if said else part
        if len(longer) > room:
            break
        said = longer
    return said


def print_scoreboard(rows: Sequence[Row], *, file: Any = None, width: int | None = None) -> None:
    """The scoreboard as a table on stdout for each split: a row for each model. `width` is in characters."""
    console = Console(file=file or sys.stdout, highlight=False, width=width)
    if width is None and (console.is_dumb_terminal or not console.is_terminal):
        # Of a terminal that is dumb rich thinks that it has 80 columns, whatever it has.
        width = shutil.get_terminal_size().columns if console.is_dumb_terminal else FULL_WIDTH
        console = Console(file=file or sys.stdout, highlight=False, width=width)
    for split, of_split in by_split(rows).items():
        table = _scoreboard_table(split, of_split, console.width)
        if console.is_terminal:
            console.print(table)
            continue
        # Into files and logs without the blanks with which rich fills up each line.
        with console.capture() as captured:
            console.print(table)
        console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def cross_validation_lines(steps: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each of a run's `steps` whose metrics have `folds`: mean ± standard deviation of the figures."""
    return [
        f"{step['step']}, {folds['count']} folds, mean ± standard deviation: "
        + ", ".join(f"{name} {mean:.4f} ± {folds['std'][name]:.4f}" for name, mean in folds["mean"].items())
        for step in steps
        if isinstance(folds := (step["metrics"] or {}).get("folds"), Mapping)
    ]


def _scoreboard_table(split: str, rows: Sequence[Row], width: int) -> Table:
    title = f"{split} split, {rows[0].rows} rows"
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    columns = columns_of(rows)
    cells = {column: [title_of(column, rows), *map(column.cell, rows)] for column in columns}
    shown = list(columns)
    while len(shown) > LEAST_COLUMNS and _needed(shown, cells) > width:
        shown.remove(max(shown, key=lambda column: column.rank))
    if _needed(shown, cells) > width:
        shown = [MODEL, *(column for column in columns if column.rank == 0 and not column.is_text)]
        cells |= {MODEL: [MODEL.title, *map(MODEL.cell, rows)]}
    for column in shown:
        table.add_column(cells[column][0], justify="left" if column.is_text else "right", no_wrap=True)
    for place in range(len(rows)):
        table.add_row(*(cells[column][place + 1] for column in shown))
    return table


def _needed(shown: Sequence[Column], cells: Mapping[Column, Sequence[str]]) -> int:
    """Characters that the table takes: rich pads each cell by two, and draws one more between columns."""
    return sum(max(map(len, cells[column])) + 3 for column in shown) + 1


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if value != int(value) or abs(value) > 1e9 else str(int(value))
    return str(value)
