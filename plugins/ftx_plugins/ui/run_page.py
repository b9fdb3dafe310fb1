"""The page of a run: what it has done, what it is doing, what came of it, in parts that change while it goes on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup

from ftx.runs import RECORD, RunRecord, read_record
from ftx.store import Store
from ftx.tasks import TEXT_CLASSIFICATION
from ftx_plugins.report import figures, origins
from ftx_plugins.report.charts import Series, curves
from ftx_plugins.report.gather import RunSeen, open_made
from ftx_plugins.report.headline import headline
from ftx_plugins.report.page import took
from ftx_plugins.ui import outcome
from ftx_plugins.ui.following import Follower, StepFollowed
from ftx_plugins.ui.listing import SAID, STATES, TONES, clock, doing, seen, since, states, step_names

PARTS = ("state", "now", "steps", "board", "log")
"""What changes while a run goes on, in the order of the page; each is a macro of `run_parts.html`."""


@dataclass(frozen=True)
class Now:
    """What a run is doing."""

    doing: str
    percent: float | None
    left: str
    rate: str
    figures: tuple[tuple[str, str], ...]
    chart: Markup | None
    lines: tuple[str, ...]
    """What the chart's lines are."""


@dataclass(frozen=True)
class StepLine:
    name: str
    state: str
    said: str
    took: str
    digest: str
    kept: bool
    """Whether the store still has what it made."""
    warnings: int


@dataclass(frozen=True)
class SettingsShown:
    """The settings of one step, and what of them was set, on one line."""

    name: str
    settings: tuple[origins.Setting, ...]
    chosen: str


@dataclass(frozen=True)
class Said:
    time: str
    step: str
    kind: str
    text: str


@dataclass(frozen=True)
class RunView:
    """All that the page shows of a run."""

    id: str
    words: str
    status: str
    said: str
    tone: str
    started: str
    took: str
    sentence: str
    about: str
    error: tuple[str, ...]
    reportable: bool
    now: Now | None
    steps: tuple[StepLine, ...]
    boards: tuple[outcome.Board, ...]
    cells: outcome.Cells
    log: tuple[Said, ...]
    settings: tuple[SettingsShown, ...]
    facts: tuple[tuple[str, str], ...]


class RunPage:
    """Follows one run, which there must be: `view()` is the run as it is at the moment."""

    def __init__(self, identity: str, store: Store) -> None:
        self._store = store
        self._folder: Path = store.runs / identity
        self._follower = Follower(self._folder)
        self._stamp: tuple[int, str] | None = None
        self._run: RunSeen | None = None

    def view(self) -> RunView | None:
        """None where it is gone."""
        record = read_record(self._folder / RECORD)
        if record is None:
            return None
        self._follower.read()
        return view(self._seen(record), self._follower)

    def _seen(self, record: RunRecord) -> RunSeen:
        """The artifacts are opened anew only when a step has come to its end."""
        known = self._run
        # A run that starts is recorded before its plan is.
        if known is None or not known.plan or self._stamp != (len(record.steps), record.status):
            self._run = known = seen(record, self._store, lambda made: open_made(made, self._store))
            self._stamp = (len(record.steps), record.status)
        return known


def view(run: RunSeen, follower: Follower) -> RunView:
    record = run.record
    reportable = run.plan.get("task", TEXT_CLASSIFICATION) == TEXT_CLASSIFICATION
    # Of a run that has measured nothing yet, what it is doing says more.
    lead = headline(run) if reportable and (run.final or record.status != "running") else None
    error = record.error or {}
    step = follower.current if record.status == "running" and len(follower.steps) > len(record.steps) else None
    facts = [(name, str(run.plan[name])) for name in ("model", "task", "seed", "device") if name in run.plan]
    limits = ", ".join(f"{name} {figures.short(limit)}" for name, limit in run.budget.limits().items())
    return RunView(
        id=record.id,
        words=" ".join(record.words),
        status=record.status,
        said=STATES.get(record.status, record.status),
        tone=TONES.get(record.status, "loss"),
        started=clock(record.started),
        took=took(record) or (since(record.started) if record.status == "running" else ""),
        sentence=lead.sentence if lead else "",
        about=lead.about if lead else "",
        error=(*str(error["message"]).splitlines(), *error.get("hints", ())) if error else (),
        reportable=reportable and bool(record.steps),
        now=_now(step) if step else None,
        steps=tuple(_steps(run, follower)),
        boards=tuple(outcome.boards(run)),
        cells=outcome.cells(run),
        log=tuple(
            Said(f"{datetime.fromtimestamp(line.time, UTC):%H:%M:%S}", line.step, line.kind, line.text)
            for line in reversed(follower.lines)
        ),
        settings=tuple(_settings(run)),
        facts=(*facts, *((("budget", limits),) if limits else ())),
    )


def _now(step: StepFollowed) -> Now:
    left, speed = step.seconds_left(time.time()), step.rate()
    shown = [(name, figures.short(value)) for name, value in step.figures.items()]
    if step.epochs:
        shown.append(("epochs over", f"{step.epochs[0]} of {step.epochs[1]}"))
    lines = [
        Series(name, curve.points)
        for name, curve in (("training", step.trained), ("validation", step.validated))
        if curve.points
    ]
    drawn = len(step.trained.points) > 1 and (step.by_epoch or len(lines) == 1)
    return Now(
        doing(step),
        None if step.percent is None else round(step.percent, 1),
        "" if left is None else figures.seconds(left),
        "" if speed is None else f"{speed:.3g} {step.unit} a second",
        tuple(shown),
        curves(lines, x_title="epoch" if step.by_epoch else step.unit or "steps", y_title="loss") if drawn else None,
        tuple(line.name for line in lines) if drawn else (),
    )


def _steps(run: RunSeen, follower: Follower) -> list[StepLine]:
    found = []
    for place, (name, state) in enumerate(zip(step_names(run, follower), states(run, follower), strict=True)):
        done = run.steps[place] if place < len(run.steps) else None
        begun = follower.steps[place] if place < len(follower.steps) else None
        took_it = ""
        if done is not None:
            took_it = "" if state == "hit" else figures.seconds(done.result["seconds"])
        elif state == "now" and begun is not None:
            took_it = figures.seconds(max(0.0, time.time() - begun.started))
        found.append(
            StepLine(
                name,
                state,
                SAID[state],
                took_it,
                (done.digest or "") if done else "",
                done is not None and done.artifact is not None,
                len(done.result.get("warnings") or ()) if done else 0,
            )
        )
    return found


def _settings(run: RunSeen) -> list[SettingsShown]:
    """Of all steps of the plan; of those that are done where it was not kept."""
    planned = [(str(each["step"]), each["settings"]) for each in run.plan.get("steps", ())]
    found = []
    for name, values in planned or [(step.name, step.settings) for step in run.steps]:
        settings = origins.settings_of(values)
        if settings:
            found.append(SettingsShown(name, settings, origins.in_short(settings)))
    return found
