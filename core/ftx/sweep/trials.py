"""The trials of a sweep on disk: `.ftx/sweeps/ID/trials.json`, rewritten whole whenever one changes.

Optuna's own storages are not used: its journal is appended to without a rename, and a trial that was killed half-way
is no concept of it. From this file its study is built anew, with the same outcome.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ftx.errors import FtxError
from ftx.store import Store, disk_errors, write_atomically

FINISHED = ("done", "budget", "stopped", "failed")


@dataclass(frozen=True)
class Trial:
    """One set of values, and what came of it."""

    number: int
    """From 1 on."""
    values: Mapping[str, str]
    """Setting -> value, as it is typed."""
    state: str = "running"
    """`running` (or interrupted), `done`, `budget` (broken), `stopped` (early), `failed`."""
    figure: float | None = None
    """Of the objective, where the run got that far."""
    excess: float = 0.0
    """How far the budget is broken: the largest share by which a limit is exceeded."""
    epochs: Mapping[int, float] = field(default_factory=dict)
    """Epoch -> the objective's figure on validation rows after it."""
    run: str | None = None
    """The run's ID."""
    note: str = ""
    """Why it broke the budget, was stopped or failed."""
    hints: Sequence[str] = ()
    """What to do about it."""

    @property
    def finished(self) -> bool:
        return self.state in FINISHED

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Trials:
    """All trials of one sweep."""

    def __init__(self, store: Store, identity: str) -> None:
        self._store = store
        self._path = store.root / "sweeps" / identity / "trials.json"
        self._trials: dict[int, Trial] = _read(self._path)

    def __len__(self) -> int:
        return len(self._trials)

    def all(self) -> list[Trial]:
        return [self._trials[number] for number in sorted(self._trials)]

    def finished(self) -> list[Trial]:
        return [trial for trial in self.all() if trial.finished]

    def interrupted(self) -> Trial | None:
        """The trial that was cut short: its values are tried again, and what it has done so far is not done again."""
        return next((trial for trial in self.all() if not trial.finished), None)

    def put(self, trial: Trial) -> Trial:
        self._trials[trial.number] = trial
        document = json.dumps({"trials": [each.to_json() for each in self.all()]}, indent=1)
        with disk_errors(self._store.root):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, document + "\n")
        return trial


def _read(path: Path) -> dict[int, Trial]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        trials = [_read_trial(each) for each in document["trials"]]
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FtxError(f"{path} is damaged: {error}", f"start this sweep anew: rm {path}") from None
    return {trial.number: trial for trial in trials}


def _read_trial(raw: Mapping[str, Any]) -> Trial:
    """A trial out of JSON, which knows no numbers as names, and no tuples."""
    trial = Trial(**raw)
    epochs = {int(epoch): figure for epoch, figure in trial.epochs.items()}
    return replace(trial, epochs=epochs, hints=tuple(trial.hints))
