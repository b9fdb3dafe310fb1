"""Carrying out one step as a run does it: watched, or in a process that kills itself half-way."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ftx import executor
from ftx.artifacts import Artifact
from ftx.config import BudgetTable
from ftx.discovery import PluginInfo
from ftx.events import Events
from ftx.hashing import hash_folder
from ftx.plan import Plan, PlannedStep
from ftx.plugins import PluginManager
from ftx.runner import RunResult, run_plan
from ftx.settings import StepConfig
from ftx.step import Context, Executor, ModelSettings, Step
from ftx.testing.writes import watch_writes

WATCHED = Executor("watched", "here, its writes watched", "ftx.testing.execution:execute_watched")
DYING = Executor("dying", "until it first says how far it is", "ftx.testing.execution:execute_dying")
KILL_TIMEOUT = 300
"""Seconds that a process has to get as far as it is to be killed."""

_stray: ContextVar[list[str]] = ContextVar("_stray")


def plan_of(
    step: Step, config: StepConfig, inputs: Mapping[str, Artifact], plugin: PluginInfo, root: Path, seed: int = 0
) -> Plan:
    """A plan of this step alone, on these inputs; its store is `root`/.ftx."""
    gives = type(inputs["model"]) if step.gives == "model" else step.gives
    planned = PlannedStep(
        id=step.full_name,
        step=step,
        config=config,
        sources={},
        inputs={name: f"given {name}" for name in inputs},
        gives=gives,
        plugin=plugin,
    )
    return Plan(
        steps=(planned,),
        words=(step.full_name,),
        model=ModelSettings("tiny"),
        given={f"given {name}": artifact for name, artifact in inputs.items()},
        seed=seed,
        device="cpu",
        store=root / ".ftx",
        budget=BudgetTable(),
        root=root,
        config_path=None,
    )


@dataclass(frozen=True)
class Watched:
    """How a run went, and the paths outside `context.out` and `context.work` that it wrote, changed or removed."""

    result: RunResult
    stray: tuple[str, ...]


def run_watched(plan: Plan, plugins: PluginManager) -> Watched:
    """Carry out the plan in this process; observers are not told."""
    stray: list[str] = []
    token = _stray.set(stray)
    try:
        result = run_plan(plan, plugins, Events(), executor=WATCHED, observe=False)
    finally:
        _stray.reset(token)
    left = [path for parent in ("tmp", "work") for path in (plan.store / parent).iterdir()]
    return Watched(result, tuple(sorted({*stray, *map(str, left)})) if result.error is None else tuple(stray))


def execute_watched(run: str, config: StepConfig, inputs: Mapping[str, Artifact], context: Context) -> Any:
    """The executor of `run_watched`. The current folder is an empty one, so that what lands in it is seen."""
    before = {name: hash_folder(artifact.path) for name, artifact in inputs.items()}
    with tempfile.TemporaryDirectory() as folder:
        # The run's own log grows with what the step says.
        log = context.out.parents[1] / "runs"
        with watch_writes(context.out, context.work, log) as writes, contextlib.chdir(folder):
            metrics = executor.execute(run, config, inputs, context)
        stray = _stray.get()
        stray += writes.left()
        stray += [f"{path.name} in the current folder" for path in sorted(Path(folder).iterdir())]
    stray += [f"the input {name}" for name, artifact in inputs.items() if hash_folder(artifact.path) != before[name]]
    return metrics


def run_killed(plan: Plan, plugins: PluginManager) -> int | None:
    """Carry out the plan in a process of its own that is killed when the step first reports progress, or at its end.

    Returns the process's exit code, -9 for one that was killed; None for one that got nowhere and was stopped.
    """
    process = multiprocessing.get_context("spawn").Process(target=_die, args=(plan, plugins.infos))
    process.start()
    process.join(KILL_TIMEOUT)
    if process.exitcode is None:
        process.kill()
        process.join()
        return None
    return process.exitcode


def _die(plan: Plan, infos: list[PluginInfo]) -> None:
    plugins = PluginManager.load(third_party=False, built_in=False)
    for info in infos:
        plugins.add(info.name, info.module, info.distribution, info.version, built_in=info.built_in)
    result = run_plan(plan, plugins, Events(), executor=DYING, observe=False)
    raise SystemExit(str(result.error))


def execute_dying(run: str, config: StepConfig, inputs: Mapping[str, Artifact], context: Context) -> Any:
    """The executor of `run_killed`: SIGKILL, which nothing can catch, when something has been done."""

    def emit(name: str, values: Mapping[str, Any]) -> None:
        if name == "progress" and values["done"]:
            os.kill(os.getpid(), signal.SIGKILL)

    executor.execute(run, config, inputs, replace(context, emit=emit))
    os.kill(os.getpid(), signal.SIGKILL)
