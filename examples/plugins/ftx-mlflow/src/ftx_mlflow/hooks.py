"""The observers; MLflow is imported when the first run starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftx import hookimpl

if TYPE_CHECKING:
    from ftx_mlflow.tracking import Tracked

_runs: dict[str, Tracked] = {}
"""Those that have started here. One that MLflow refused is missing, and the other observers leave it alone."""


@hookimpl
def ftx_run_started(run: str, steps: tuple[str, ...]) -> None:
    from ftx_mlflow.tracking import Tracked

    _runs[run] = Tracked.start(run, steps)


@hookimpl
def ftx_step_finished(run: str, step: str, result: Mapping[str, Any]) -> None:
    if run in _runs:
        _runs[run].finished(step, result)


@hookimpl
def ftx_step_failed(run: str, step: str, error: str) -> None:
    if run in _runs:
        _runs[run].failed(step, error)


@hookimpl
def ftx_run_finished(run: str, status: str) -> None:
    if run in _runs:
        _runs.pop(run).end(status)
