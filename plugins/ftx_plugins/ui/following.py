"""What a run says of itself while it goes on, read from its `events.jsonl` as far as that is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftx.pace import Pace

Json = Mapping[str, Any]
EVENTS = "events.jsonl"
MOST_POINTS = 240
"""Of a curve that are kept: beyond, every other one is dropped."""
MOST_LINES = 200
"""Of what steps say that are kept, the newest."""


@dataclass
class Curve:
    """A figure over epochs or steps, thinned evenly as it grows."""

    points: list[tuple[float, float]] = field(default_factory=list)
    _stride: int = 1
    _seen: int = 0

    def add(self, x: float, y: float) -> None:
        if self._seen % self._stride == 0:
            self.points.append((x, y))
        self._seen += 1
        if len(self.points) >= MOST_POINTS:
            self.points = self.points[::2]
            self._stride *= 2


@dataclass
class StepFollowed:
    """A step of a run, as far as it has come."""

    name: str
    started: float
    """Seconds since 1970, as all times here."""
    waiting: bool = False
    """For another run that is making the same."""
    failed: bool = False
    done: float | None = None
    total: float | None = None
    unit: str = ""
    figures: Json = field(default_factory=dict)
    epochs: tuple[int, int] | None = None
    """The last one that was evaluated, of how many."""
    trained: Curve = field(default_factory=Curve)
    """Training loss over epochs, or over steps where epochs are not told."""
    validated: Curve = field(default_factory=Curve)
    by_epoch: bool = False
    _last: float = 0.0
    """When it last told of its progress."""
    _pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self._pace = Pace(lambda: self._last)

    @property
    def percent(self) -> float | None:
        if self.done is None or not self.total:
            return None
        return min(100.0, 100 * self.done / self.total)

    def rate(self) -> float | None:
        """Units a second, as the terminal tells it; None until two reports tell."""
        return self._pace.rate

    def seconds_left(self, now: float) -> float | None:
        """Until what is counted now is over, at the rate of the last report."""
        left = self._pace.seconds_left
        return None if left is None else max(0.0, left - (now - self._last))

    def progressed(self, time: float, values: Json) -> None:
        done, figures = float(values["done"]), values["figures"]
        self.done, self.total, self.unit, self.figures = done, values["total"], str(values["unit"]), figures
        self._last, self.waiting = time, False
        self._pace.update(done, self.total, self.unit)
        loss, epoch = figures.get("loss"), figures.get("epoch")
        if isinstance(loss, int | float):
            self.by_epoch = isinstance(epoch, int | float)
            self.trained.add(float(epoch) if self.by_epoch else done, float(loss))

    def evaluated(self, values: Json) -> None:
        self.epochs = (int(values["epoch"]), int(values["epochs"]))
        loss = values["figures"].get("loss")
        if isinstance(loss, int | float):
            self.validated.add(float(values["epoch"]), float(loss))


@dataclass(frozen=True)
class Line:
    """Something that a step said: `kind` is `log`, `warning` or `failed`."""

    time: float
    step: str
    kind: str
    text: str


class Follower:
    """Reads the file on from where it was left; only whole lines, since the last may be half written, or cut by a
    kill."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the run's."""
        self._path = folder / EVENTS
        self._offset = 0
        self.planned: tuple[str, ...] = ()
        self.steps: list[StepFollowed] = []
        self.lines: list[Line] = []

    @property
    def current(self) -> StepFollowed | None:
        """The step that was started last."""
        return self.steps[-1] if self.steps else None

    def read(self) -> bool:
        """Whether there was anything new."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
        except FileNotFoundError:
            return False
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for event in _parsed(whole):
            self._take(event)
        return bool(whole)

    def _take(self, event: Json) -> None:
        name, time = event.get("event"), float(event.get("time", 0.0))
        if name == "run_started":
            self.planned = tuple(event["steps"])
        elif name == "step_started":
            self.steps.append(StepFollowed(str(event["step"]), time))
        elif name == "warning":
            self._say(time, "", "warning", event["message"])
        elif self.current is not None and event.get("step") == self.current.name:
            self._take_of_step(str(name), time, event, self.current)

    def _take_of_step(self, name: str, time: float, event: Json, step: StepFollowed) -> None:
        if name == "step_waiting":
            step.waiting = True
            self._say(time, step.name, "log", "another run is making this; waiting for it")
        elif name == "step_progress":
            step.progressed(time, event)
        elif name == "step_evaluated":
            step.evaluated(event)
        elif name == "step_failed":
            step.failed = True
            self._say(time, step.name, "failed", event["error"])
        elif name in ("step_log", "step_warning"):
            self._say(time, step.name, name.removeprefix("step_"), event["message"])

    def _say(self, time: float, step: str, kind: str, text: object) -> None:
        self.lines = [*self.lines[-MOST_LINES + 1 :], Line(time, step, kind, str(text))]


def _parsed(lines: bytes) -> Iterator[Json]:
    for line in lines.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # begun when the disk was full, and cut short: the lines after it are whole
        if isinstance(event, dict):
            yield event
