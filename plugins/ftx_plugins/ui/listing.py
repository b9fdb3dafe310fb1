"""The list of runs: what a line says of each, read again only where a file has changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx.runs import RunRecord, is_going_on, read_plan, read_record, record_files
from ftx.store import Store
from ftx_plugins.report import figures
from ftx_plugins.report.gather import Json, RunSeen, see
from ftx_plugins.report.page import took
from ftx_plugins.ui.following import Follower, StepFollowed
from ftx_plugins.ui.outcome import Cells, cells

STATES = {
    "running": "going on",
    "done": "done",
    "failed": "failed",
    "budget": "over budget",
    "stopped": "stopped early",
    "interrupted": "interrupted",
    "killed": "stopped: killed",
}
"""Status -> what the pages call it."""
TONES = {"running": "now", "done": "gain", "stopped": "quiet"}
"""Status -> how it is coloured; all others as a loss."""
SAID = {"done": "done", "hit": "reused", "now": "going on", "failed": "failed", "cut": "cut off", "open": "to come"}
"""State of a step -> what the pages call it."""


@dataclass(frozen=True)
class Mark:
    """A step in short: `state` is a key of `SAID`."""

    name: str
    state: str
    said: str


@dataclass(frozen=True)
class RunLine:
    id: str
    status: str
    said: str
    tone: str
    words: str
    started: str
    took: str
    marks: tuple[Mark, ...]
    cells: Cells
    now: str
    """What the run is doing; empty for one that is over."""
    percent: float | None
    evaluated: bool
    """Whether there is anything to compare."""


class Listing:
    """All runs of a store. What is over does not change, and is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[str, tuple[tuple[int, int], RunSeen]] = {}
        self._followed: dict[str, Follower] = {}

    def lines(self, last: int | None = None) -> list[RunLine]:
        """Of the newest `last` runs, or of all."""
        with self._lock:
            return [line for path in record_files(self._store)[:last] if (line := self._line(path)) is not None]

    def count(self) -> int:
        return len(record_files(self._store))

    def _line(self, path: Path) -> RunLine | None:
        run = self._seen(path)
        if run is None:
            return None
        if run.record.status == "running" and not is_going_on(run.record):
            run.record.status = "killed"
        follower = self._follow(run.record) if run.record.status == "running" else None
        return run_line(run, follower)

    def _seen(self, path: Path) -> RunSeen | None:
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
        stamp, identity = (stat.st_mtime_ns, stat.st_size), path.parent.name
        known = self._known.get(identity)
        if known is not None and known[0] == stamp:
            return known[1]
        record = read_record(path)
        if record is None:
            return None
        try:
            run = seen(record, self._store, lambda made: None)
        except FtxError:
            return None  # its page says why
        if run.plan or record.status != "running":  # one that starts is recorded before its plan is
            self._known[identity] = (stamp, run)
        return run

    def _follow(self, record: RunRecord) -> Follower:
        follower = self._followed.setdefault(record.id, Follower(self._store.runs / record.id))
        follower.read()
        return follower


def seen(record: RunRecord, store: Store, opened: Callable[[Json | None], Artifact | None]) -> RunSeen:
    """A run with its plan, as far as that is kept; `opened` opens what a step made. `FtxError` where another version
    wrote what this one does not know."""
    try:
        plan = read_plan(store, record.id)
    except ValueError:
        plan = {}  # cut short
    try:
        return see(record, plan, opened)
    except (TypeError, ValueError, KeyError) as error:
        raise FtxError(
            f"the run {record.id} was written by another version of ftx: {str(error).splitlines()[0]}",
            "look at it with that version, or run it again",
        ) from error


def run_line(run: RunSeen, follower: Follower | None) -> RunLine:
    """A run in the list; `follower` follows one that goes on."""
    record = run.record
    step = follower.current if follower else None
    return RunLine(
        id=record.id,
        status=record.status,
        said=STATES.get(record.status, record.status),
        tone=TONES.get(record.status, "loss"),
        words=" ".join(record.words),
        started=clock(record.started),
        took=took(record) or (f"since {since(record.started)}" if record.status == "running" else ""),
        marks=tuple(marks(run, follower)),
        cells=cells(run),
        now=doing(step) if step and len(record.steps) < len(follower.steps if follower else ()) else "",
        percent=step.percent if step else None,
        evaluated=bool(record.scoreboard),
    )


def marks(run: RunSeen, follower: Follower | None) -> list[Mark]:
    """The planned steps but evaluations, which follow each of the others."""
    return [
        Mark(name, state, SAID[state])
        for name, state in zip(step_names(run, follower), states(run, follower), strict=True)
        if not name.startswith("evaluate")
    ]


def step_names(run: RunSeen, follower: Follower | None) -> list[str]:
    """All steps of the plan, or, where it was not kept, those that are known of."""
    planned = [str(step["step"]) for step in run.plan.get("steps", ())] or list(follower.planned if follower else ())
    done = [step.name for step in run.steps]
    return planned if len(planned) >= len(done) else done


def states(run: RunSeen, follower: Follower | None) -> list[str]:
    """The state of each of `step_names`."""
    found = ["hit" if step.result["cached"] else "done" for step in run.steps]
    status, names = run.record.status, step_names(run, follower)
    if len(found) < len(names) and status not in ("done", "budget"):
        begun = follower is None or len(follower.steps) > len(found)
        if status == "running":
            found += ["now"] if begun else []
        else:
            found.append("failed" if status == "failed" else "cut")
    return (found + ["open"] * len(names))[: len(names)]


def doing(step: StepFollowed) -> str:
    """`train:finetune, 120 of 300 steps`."""
    if step.waiting:
        return f"{step.name}, waiting for another run that makes the same"
    if step.done is None:
        return step.name
    of = f" of {step.total:,.0f}" if step.total else ""
    return f"{step.name}, {step.done:,.0f}{of} {step.unit}".rstrip()


def clock(moment: str) -> str:
    """A time of a record, to the minute, in UTC as it is kept."""
    return moment.replace("T", " ")[:16]


def since(moment: str) -> str:
    """How long ago that was."""
    return figures.seconds(max(0.0, time.time() - datetime.fromisoformat(moment).timestamp()))
