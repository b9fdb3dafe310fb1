"""ftx from Python: `ftx.run(["train", "quantize", "export"], config="ftx.toml")`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftx.config import load_config, open_store
from ftx.events import Events, Listener
from ftx.planner import make_plan
from ftx.plugins import PluginManager
from ftx.reporting import Report, find_records, render_report
from ftx.runner import RunResult, run_plan
from ftx.runs import RunRecord
from ftx.step import load_by_name


def run(
    steps: Sequence[str],
    config: str | Path | None = None,
    *,
    settings: Sequence[str] = (),
    listener: Listener | None = None,
    environment: Mapping[str, str] = os.environ,
) -> RunResult:
    """Plan and carry out `steps`, as `ftx run` does.

    `config` is the path of an ftx.toml (by default the one in this folder), `settings` are `KEY=VALUE`s as of
    `--set`, and `listener` is told each event (see `ftx.events`). Raises `PlanError` for a plan with problems, and
    `FtxError` for a run that failed or broke its budget; `error.code` is what the command line would exit with.
    """
    plugins = PluginManager.load()
    merged = load_config(Path(config) if config else None, settings=settings, environment=environment)
    plan = make_plan(steps, merged, plugins)
    result = run_plan(plan, plugins, Events([listener] if listener else []))
    if result.error is not None:
        raise result.error
    return result


def report(
    *runs: str | RunRecord | RunResult, config: str | Path | None = None, environment: Mapping[str, str] = os.environ
) -> Report:
    """The report of runs, as `ftx report` writes it: `report(result)`, or the newest run's where none is given.

    A run is its ID, the beginning of one, `latest`, a record, or what `run` returned; it is looked up in the store of
    the project `config`. What is returned shows itself in Jupyter, and is written to a file by `save`. Raises
    `FtxError` for a run that is not there, and where the extra `report` is not installed.
    """
    store = open_store(load_config(Path(config) if config else None, environment=environment))
    names = [each if isinstance(each, str) else _record_of(each).id for each in runs]
    return render_report(find_records(names, store), store)


def _record_of(run: RunRecord | RunResult) -> RunRecord:
    return run.record if isinstance(run, RunResult) else run


def load_checkpoint(folder: str | Path) -> Any:
    """The checkpoint in a folder, as `LoadedCheckpoint`: `model`, `tokenizer`, `labels`, `max_length`. Needs torch."""
    return load_by_name("ftx_plugins.checkpoint:load_checkpoint")(folder)
