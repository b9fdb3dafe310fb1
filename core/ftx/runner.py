"""Carrying out a plan: hits, locks, resumption, events, the budget, and what is left when something stops it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftx import machine
from ftx.artifacts import Artifact, Bundle, Checkpoint, Manifest
from ftx.errors import BudgetError, Bug, ExitCode, FtxError, Stopped
from ftx.events import Events, Observers, RunLog
from ftx.hashing import hash_folder
from ftx.plan import LOAD_TEST, Plan, PlannedStep, installed_version, made_by, step_key
from ftx.plugins import DISTRIBUTION, PluginManager, own_version
from ftx.runs import RunRecord, new_run, save_plan, timestamp
from ftx.scoreboard import Row, advice, as_json, breaches, excess_of, gated, nearest_budget, rows_of
from ftx.step import Context, Executor, load_by_name
from ftx.store import CorruptArtifact, KeyRecord, Store, disk_errors


@dataclass
class RunResult:
    """How a run went; `error` is set unless all of it is done."""

    record: RunRecord
    rows: list[Row]
    error: FtxError | None = None

    @property
    def status(self) -> str:
        return self.record.status

    def to_json(self) -> dict[str, Any]:
        """What `ftx run --json` prints."""
        document = {
            "run": self.record.id,
            "status": self.record.status,
            "steps": self.record.steps,
            "scoreboard": as_json(self.rows),
            "artifact": self.record.artifact,
        }
        return document | ({"error": self.record.error} if self.record.error else {})

    def _repr_html_(self) -> str:
        """What Jupyter shows of it."""
        return self.record._repr_html_()


def run_plan(
    plan: Plan,
    plugins: PluginManager,
    events: Events,
    *,
    command: str = "",
    executor: str | Executor = "local",
    observe: bool = True,
    parallel: Executor | None = None,
) -> RunResult:
    """Carry out a plan. What a step raises is in the result; Ctrl-C too, as exit code 130.

    `command` is the command line that continues the run if it does not finish, `executor` the name of one or the
    executor itself, and `observe` says whether the observers of plugins are told. `parallel` executes the steps that
    are `data_parallel`, where several processes carry out the plan.
    """
    chosen = executor if isinstance(executor, Executor) else plugins.executors().get(executor)
    if chosen is None:
        raise FtxError(f"unknown executor {executor}", f"name one of: {', '.join(sorted(plugins.executors()))}")
    store = Store(plan.store)
    store.create()
    command = command or f"ftx run {' '.join(plan.words)}"
    run = _Run(plan, store, plugins, events, chosen, command, observe, parallel, new_run(plan.words, plan.config_path))
    return run.carry_out()


@dataclass
class _Run:
    plan: Plan
    store: Store
    plugins: PluginManager
    events: Events
    executor: Executor
    command: str
    observe: bool
    parallel: Executor | None
    record: RunRecord
    made: dict[str, Artifact] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    serving: Mapping[str, Any] = field(default_factory=dict)
    servers: ExitStack = field(default_factory=ExitStack)
    """What goes on in the background until the last step is done."""

    def carry_out(self) -> RunResult:
        self.record.save(self.store)
        log = RunLog(self.store.runs / self.record.id / "events.jsonl")
        self.events.listeners.append(log)
        if self.observe:
            observers = Observers(self.plugins, self.record.id, lambda message: log("warning", {"message": message}))
            self.events.listeners.append(observers)
        error: FtxError | None = None
        status = "done"
        try:
            save_plan(self.store, self.record.id, self.plan.to_json() | {"machine": machine.identity(self.plan.device)})
            self.events.emit(
                "run_started", run=self.record.id, steps=tuple(planned.name for planned in self.plan.steps)
            )
            for message in self.plan.warnings:
                self.events.emit("warning", message=message)
            self.made |= self.plan.given_artifacts(self.store)
            with self.servers:
                for place, planned in enumerate(self.plan.steps):
                    tested = any(later.step.stage == LOAD_TEST for later in self.plan.steps[place + 1 :])
                    self._do(planned, in_background=tested and planned.step.background is not None)
        except Stopped as raised:
            error, status = raised, "stopped"
        except FtxError as raised:
            error, status = raised, "budget" if raised.code == ExitCode.BUDGET else "failed"
        except KeyboardInterrupt:
            error, status = FtxError("interrupted", self._resume_hint(), code=ExitCode.INTERRUPTED), "interrupted"
        except BaseException:
            self._finish("failed", None)
            raise
        self._finish(status, error)
        return RunResult(self.record, self.rows, error)

    def _do(self, planned: PlannedStep, *, in_background: bool) -> None:
        inputs = {name: self.made[producer] for name, producer in planned.inputs.items()}
        key = step_key(planned, inputs, self.plan, self.store)
        try:
            self.events.emit("step_started", step=planned.name, key=key)
            started = time.perf_counter()
            with self.store.lock(key, lambda: self.events.emit("step_waiting", step=planned.name)):
                hit = None if in_background else self._find_hit(planned, key)
                if in_background:
                    record, artifact = self._start(planned, key, inputs), None
                elif hit is None:
                    record, artifact = self._make(planned, key, inputs)
                else:
                    record, artifact = hit
                # Within the lock: until the run's record names it, nothing else keeps it from being collected.
                seconds = time.perf_counter() - started
                self._finished(planned, record, artifact, cached=hit is not None, seconds=seconds)
            self._check_budget(planned)
            self._check_load_test(planned, record)
        except Stopped:
            raise
        except FtxError as error:
            if error.code != ExitCode.BUDGET:
                error.hints = (*error.hints, self._resume_hint())
            self.events.emit("step_failed", step=planned.name, error=error.message)
            raise
        except Exception as bug:
            message = f"{planned.name} failed: {type(bug).__name__}: {bug}"
            self.events.emit("step_failed", step=planned.name, error=message)
            raise Bug(message, self._report_hint(planned), self._resume_hint()) from bug

    def _find_hit(self, planned: PlannedStep, key: str) -> tuple[KeyRecord, Artifact | None] | None:
        record = self.store.find(key) if planned.step.cached else None
        if record is None:
            return None
        if record.digest is None:
            return record, None
        try:
            return record, self.store.verify(record.digest)
        except CorruptArtifact as corrupt:
            self.events.emit(
                "step_warning", step=planned.name, message=f"what the store held is damaged ({corrupt}): made again"
            )
            self.store.discard(record.digest)
            return None

    def _context(self, planned: PlannedStep, out: Path, work: Path, warnings: list[str]) -> Context:
        return Context(
            step=planned.name,
            out=out,
            work=work,
            seed=self.plan.seed,
            device=self.plan.device,
            model=self.plan.model,
            plugins=self.plugins,
            emit=self._emitter(planned, warnings),
            budget=self.plan.budget.limits() if planned.step.within_budget else {},
            serving=self.serving,
        )

    def _start(self, planned: PlannedStep, key: str, inputs: Mapping[str, Artifact]) -> KeyRecord:
        """Let the step go on in the background; it is done, as a step, once it is ready."""
        assert planned.step.background is not None
        out, work = self.store.prepare(key)
        # Left behind the server: it may write there as long as it runs.
        self.servers.callback(self.store.abandon, key)
        warnings: list[str] = []
        started = time.perf_counter()
        start = load_by_name(planned.step.background)
        self.serving = _plain(
            dict(self.servers.enter_context(start(planned.config, inputs, self._context(planned, out, work, warnings))))
        )
        seconds = time.perf_counter() - started
        return KeyRecord(key, planned.name, None, self.serving, tuple(warnings), seconds, timestamp())

    def _make(
        self, planned: PlannedStep, key: str, inputs: Mapping[str, Artifact]
    ) -> tuple[KeyRecord, Artifact | None]:
        out, work = self.store.prepare(key)
        warnings: list[str] = []
        context = self._context(planned, out, work, warnings)
        started = time.perf_counter()
        try:
            with disk_errors(self.store.root):
                shared = self.parallel if planned.step.data_parallel else None
                execute = load_by_name((shared or self.executor).execute)
                metrics = _plain(dict(execute(planned.step.run, planned.config, inputs, context) or {}))
        except BaseException as raised:
            self.store.abandon(key, resumable=not isinstance(raised, Stopped))
            raise
        seconds = time.perf_counter() - started
        if planned.gives is None:
            self.store.abandon(key)
            record = KeyRecord(key, planned.name, None, metrics, tuple(warnings), seconds, timestamp())
            self.store.record(record)
            return record, None
        manifest = Manifest(
            kind=planned.gives.kind,
            files=hash_folder(out),
            meta=_plain(context.meta),
            metrics=metrics,
            step=planned.name,
            key=key,
            config=planned.config.model_dump(mode="json"),
            inputs={name: artifact.digest for name, artifact in inputs.items()},
            seed=self.plan.seed,
            versions=self._versions(planned),
            created=timestamp(),
            seconds=round(seconds, 3),
        )
        record = KeyRecord(key, planned.name, manifest.digest, metrics, tuple(warnings), seconds, timestamp())
        return record, self.store.publish(out, manifest, record)

    def _finished(
        self, planned: PlannedStep, record: KeyRecord, artifact: Artifact | None, *, cached: bool, seconds: float
    ) -> None:
        described = None
        if artifact is not None:
            self.made[planned.id] = artifact
            described = {"digest": artifact.digest, "kind": artifact.kind, "path": str(artifact.path)}
            if isinstance(artifact, Bundle | Checkpoint) and planned.step.stage != "model":
                self.record.artifact = described
        if planned.step.stage == "evaluate":
            self.rows += rows_of(made_by(planned.inputs.get("model", "")), record.metrics)
        if cached:
            for message in record.warnings:
                self.events.emit("step_warning", step=planned.name, message=message)
        result = {
            "step": planned.name,
            "key": record.key,
            "cached": cached,
            "seconds": round(seconds, 3),
            "artifact": described,
            "metrics": record.metrics,
            "warnings": list(record.warnings),
        }
        self.record.steps.append(result)
        self.record.scoreboard = as_json(self.rows)
        self.record.save(self.store)
        self.events.emit("step_finished", step=planned.name, result=result)

    def _check_budget(self, planned: PlannedStep) -> None:
        """Hold what was just evaluated against the budget. The reference itself is the measure, and is not gated."""
        model = planned.inputs.get("model")
        if planned.step.stage != "evaluate" or model == planned.inputs.get("reference", model):
            return
        of_split = [row for row in self.rows if row.split == self.rows[-1].split]
        subject, reference_name = made_by(model or ""), made_by(planned.inputs["reference"])
        current = [row for row in of_split if row.step == subject]
        reference = next((row for row in of_split if row.step == reference_name), None)
        # The test split is looked at for the report: choosing by it would make it a second validation split.
        if self.rows[-1].split == "test" or not (found := breaches(current, reference, self.plan.budget)):
            return
        listed = "\n  ".join(str(breach) for breach in found)
        artifact = self.made[model or ""]
        raise BudgetError(
            f"the budget is broken by {subject}\n  {listed}",
            *advice(found),
            *nearest_budget(gated(current), reference, self.plan.budget),
            f"look at what it made: ftx show {artifact.digest[:12]}",
            excess=excess_of(gated(current), reference, self.plan.budget),
        )

    def _check_load_test(self, planned: PlannedStep, record: KeyRecord) -> None:
        """A load test is kept whatever it says; a missed SLO is then like a broken budget, the rest a failed step."""
        code = record.metrics.get("exit_code", 0) if planned.step.stage == LOAD_TEST else 0
        if not code:
            return
        message = f"{planned.name}: {record.metrics.get('verdict')}: {record.metrics.get('says')}"
        hints = (*record.metrics.get("reasons", ()), f"look at it: ftx show {(record.digest or '')[:12]}")
        if code == 1:
            raise FtxError(message, *hints, code=ExitCode.BUDGET)
        raise FtxError(message, *hints, code=ExitCode.STEP_FAILED)

    def _emitter(self, planned: PlannedStep, warnings: list[str]) -> Any:
        def emit(name: str, values: Mapping[str, Any]) -> None:
            if name == "warning":
                warnings.append(str(values["message"]))
            self.events.emit(f"step_{name}", step=planned.name, **values)

        return emit

    def _versions(self, planned: PlannedStep) -> dict[str, str]:
        plugin = planned.plugin
        versions = {DISTRIBUTION: own_version(), plugin.distribution: plugin.version}
        return versions | {name: installed_version(name) for name in planned.step.requires}

    def _resume_hint(self) -> str:
        return f"go on where it stopped: {self.command}"

    def _report_hint(self, planned: PlannedStep) -> str:
        owner = "ftx" if planned.plugin.built_in else f"the plugin {planned.plugin}"
        return f"this is a bug of {owner}, or of a library it calls: report it with the traceback"

    def _finish(self, status: str, error: FtxError | None) -> None:
        self.record.status, self.record.finished = status, timestamp()
        if error is not None:
            self.record.error = {"code": int(error.code), "message": error.message, "hints": list(error.hints)}
        try:
            self.record.save(self.store)
        except FtxError:
            if error is None:  # otherwise a full disk is what stopped the run, and is being reported
                raise
        self.events.emit("run_finished", run=self.record.id, status=status)


def _plain(value: Any) -> Any:
    """JSON values: numpy's scalars as Python's, and what is not finite as None."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
