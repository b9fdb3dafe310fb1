"""What happens during a run, told to whoever listens: the terminal, the run's log, the plugins that observe."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftx.plugins import PluginManager

Listener = Callable[[str, Mapping[str, Any]], None]
"""Called with an event's name and its values.

run_started    run, steps                       step_waiting   step
step_started   step, key                        step_progress  step, done, total, unit, figures
step_evaluated step, epoch, epochs, figures
step_log       step, message                    step_warning   step, message
step_finished  step, result                     step_failed    step, error
run_finished   run, status                      warning        message
"""


@dataclass
class Events:
    """Passes each event on to every listener, in the order they were added."""

    listeners: list[Listener] = field(default_factory=list)

    def emit(self, name: str, **values: Any) -> None:
        for listener in self.listeners:
            listener(name, values)


class RunLog:
    """Writes events to `events.jsonl`; of progress no more than one a second for each step."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last_progress = 0.0

    def __call__(self, name: str, values: Mapping[str, Any]) -> None:
        now = time.time()
        if name == "step_progress":
            if now - self._last_progress < 1:
                return
            self._last_progress = now
        line = json.dumps({"time": round(now, 3), "event": name, **values}, default=str) + "\n"
        # On a full disk the log falls silent: the step that cannot write its artifact is what reports it.
        with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(line)


class Observers:
    """Calls the observer hooks of plugins; one that fails is named in a warning, and never fails the run."""

    def __init__(self, plugins: PluginManager, run: str, warn: Callable[[str], None]) -> None:
        self._plugins, self._run, self._warn = plugins, run, warn

    def __call__(self, name: str, values: Mapping[str, Any]) -> None:
        arguments: dict[str, Any] | None = {
            "run_started": lambda: {"steps": values["steps"]},
            "step_started": lambda: {"step": values["step"], "key": values["key"]},
            "step_progress": lambda: {
                "step": values["step"],
                "progress": {field: values[field] for field in ("done", "total", "unit", "figures")},
            },
            "step_finished": lambda: {"step": values["step"], "result": values["result"]},
            "step_failed": lambda: {"step": values["step"], "error": values["error"]},
            "run_finished": lambda: {"status": values["status"]},
        }.get(name, lambda: None)()
        if arguments is not None:
            for error in self._plugins.notify(f"ftx_{name}", run=self._run, **arguments):
                self._warn(error)
