"""What ftx expects of every step: `assert_step_contract`, and `check_step`, which tells all that is wrong at once."""

from __future__ import annotations

import inspect
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from ftx.artifacts import Artifact
from ftx.collection import verify_all
from ftx.config import input_paths
from ftx.discovery import PluginInfo
from ftx.plan import step_key
from ftx.plugins import PluginManager
from ftx.runner import RunResult
from ftx.settings import StepConfig
from ftx.step import Step, load_by_name
from ftx.store import Store
from ftx.testing.execution import plan_of, run_killed, run_watched
from ftx.testing.imports import heavy_imports
from ftx.testing.outputs import output_problems

CLAUSES: Mapping[str, str] = {
    "import": "the import strings `run` and `check` name functions that can be called as ftx calls them",
    "settings": "every setting has a description, unknown ones are refused, and values survive JSON",
    "requires": "what `requires` names is installed",
    "light": "the hooks module and `check` import nothing heavy",
    "run": "the step runs",
    "output": "what it makes is what `gives` says",
    "writes": "it writes nowhere but under `context.out` and `context.work`, and leaves its inputs alone",
    "hit": "the same settings and inputs again are a hit",
    "miss": "other inputs, another seed or another content of a file are a miss",
    "resume": "after a kill the same run completes, with the same result",
}


@dataclass(frozen=True)
class Finding:
    """A clause of the contract that a step breaks, and how."""

    clause: str
    message: str

    def __str__(self) -> str:
        return f"{self.clause}: {self.message}"


def assert_step_contract(
    step: Step,
    plugins: PluginManager,
    inputs: Mapping[str, Artifact],
    folder: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    kill: bool = True,
    deterministic: bool | None = None,
) -> None:
    """Raise `AssertionError`, with everything that is wrong, unless `step` keeps the contract (see `CLAUSES`).

    `plugins` is the manager that the step comes from, `inputs` has an artifact for each input that it needs, and
    `folder` is where its runs go. The step runs two or three times, once in a process that is killed (`kill`).
    `deterministic` says whether the same inputs give the same bytes; by default all but steps that measure do.
    """
    findings = check_step(step, plugins, inputs, folder, settings=settings, kill=kill, deterministic=deterministic)
    if findings:
        listed = "\n".join(f"  • {finding}" for finding in findings)
        raise AssertionError(f"{step.full_name} breaks the contract of steps\n{listed}")


def check_step(
    step: Step,
    plugins: PluginManager,
    inputs: Mapping[str, Artifact] | None,
    folder: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    kill: bool = True,
    deterministic: bool | None = None,
) -> list[Finding]:
    """Every clause that `step` breaks, as of `assert_step_contract`.

    Without inputs (None), and for steps that are never cached (they serve until they are stopped), nothing is run:
    only the clauses up to `light` are held against it.
    """
    plugin = plugins.origin(step)
    values = dict(settings or {})
    findings = [*_import(step), *_settings(step, values, or_none=inputs is None), *_requires(step)]
    # A module that cannot be imported here has been named; that it cannot elsewhere either says nothing new.
    findings += [] if any(finding.clause == "import" for finding in findings) else _light(step, plugin)
    if findings or inputs is None or not step.cached:
        return findings
    same = not step.measures if deterministic is None else deterministic
    trial = _Trial(step, plugins, plugin, dict(inputs), folder.resolve(), values, same)
    return trial.findings(kill=kill)


@dataclass
class _Trial:
    """A step that is run, and run again."""

    step: Step
    plugins: PluginManager
    plugin: PluginInfo
    inputs: dict[str, Artifact]
    folder: Path
    settings: dict[str, Any]
    deterministic: bool
    first: RunResult = field(init=False)

    def findings(self, *, kill: bool) -> list[Finding]:
        if missing := sorted(self._needed() - set(self.inputs)):
            return [Finding("run", f"the inputs {', '.join(missing)} were not given to the check")]
        plan = self._plan("run")
        watched = run_watched(plan, self.plugins)
        self.first = watched.result
        stray = [Finding("writes", f"{path} was written, changed or removed") for path in watched.stray]
        if self.first.error is not None:
            return [*stray, Finding("run", str(self.first.error))]
        found = [*stray, *self._output(), *self._hit(), *self._miss()]
        return [*found, *(self._resume() if kill and not found else [])]

    def _needed(self) -> set[str]:
        return {name for name, kind in self.step.takes.items() if type(None) not in get_args(kind)}

    def _plan(self, name: str, inputs: Mapping[str, Artifact] | None = None, seed: int = 0) -> Any:
        root = self.folder / name
        root.mkdir(parents=True, exist_ok=True)
        config = self.step.config(**self.settings)
        return plan_of(self.step, config, inputs or self.inputs, self.plugin, root, seed)

    def _key(self, plan: Any, inputs: Mapping[str, Artifact] | None = None) -> str:
        return step_key(plan.steps[0], inputs or self.inputs, plan, Store(plan.store))

    def _output(self) -> Iterator[Finding]:
        [made] = self.first.record.steps
        if made["artifact"] is None:
            return
        artifact = Store(self._plan("run").store).open(made["artifact"]["digest"])
        yield from (Finding("output", problem) for problem in output_problems(artifact))

    def _hit(self) -> Iterator[Finding]:
        plan = self._plan("run")
        [made] = self.first.record.steps
        if self._key(plan) != made["key"]:
            yield Finding("hit", "the same settings gave another key: a default must not differ from time to time")
            return
        again = run_watched(plan, self.plugins).result
        if again.error is not None or not again.record.steps[0]["cached"]:
            yield Finding("hit", f"the same run did the work again ({again.error or 'no error'})")

    def _miss(self) -> Iterator[Finding]:
        key = self.first.record.steps[0]["key"]
        for name, artifact in self.inputs.items():
            other = replace(artifact.manifest, meta={**artifact.meta, "changed": True})
            changed = {**self.inputs, name: type(artifact)(artifact.path, other)}
            if self._key(self._plan("run", changed), changed) == key:
                yield Finding("miss", f"another {name} has the same key")
        if self._key(self._plan("run", seed=1)) == key:
            yield Finding("miss", "another seed has the same key")
        marked = {name for name, _ in input_paths(self.step.config)}
        for name, value in self.step.config(**self.settings).model_dump(mode="json").items():
            if name not in marked and isinstance(value, str) and value and Path(value).exists():
                yield Finding(
                    "miss", f"what the file {name} holds is not part of the key: annotate the setting as ftx.FilePath"
                )

    def _resume(self) -> Iterator[Finding]:
        plan = self._plan("killed")
        code = run_killed(plan, self.plugins)
        if code != -signal.SIGKILL:
            yield Finding("resume", f"in a process of its own the step did not run (exit code {code}, see stderr)")
            return
        result = run_watched(plan, self.plugins).result
        if result.error is not None:
            yield Finding("resume", f"after a kill the same run fails: {result.error.message}")
            return
        if damaged := verify_all(Store(plan.store))[1]:
            yield Finding("resume", f"after a kill the store is damaged: {damaged}")
        before, after = (Store(self._plan(name).store) for name in ("run", "killed"))
        yield from self._differences(before, after, result)

    def _differences(self, before: Store, after: Store, result: RunResult) -> Iterator[Finding]:
        [one], [other] = self.first.record.steps, result.record.steps
        if one["artifact"] is None or one["artifact"]["digest"] == other["artifact"]["digest"]:
            return
        made, remade = before.open(one["artifact"]["digest"]), after.open(other["artifact"]["digest"])
        files, refiles = made.manifest.files, remade.manifest.files
        names = sorted(name for name in {*files, *refiles} if files.get(name) != refiles.get(name))
        if self.deterministic:
            what = ", ".join(names) or "the facts of context.describe"
            yield Finding("resume", f"after a kill the result is another than without one: {what}")
        elif set(files) != set(refiles):
            yield Finding(
                "resume", f"after a kill there are other files: {', '.join(sorted(set(files) ^ set(refiles)))}"
            )


def _import(step: Step) -> Iterator[Finding]:
    for what, target, arguments in (("run", step.run, 3), ("check", step.check, 2)):
        if target is None:
            continue
        try:
            function = load_by_name(target)
            inspect.signature(function).bind(*range(arguments))
        except TypeError as error:
            yield Finding("import", f"{what} = {target!r} cannot be called with {arguments} arguments: {error}")
        except Exception as error:  # whatever the module raises when it is imported
            yield Finding("import", f"{what} = {target!r}: {type(error).__name__}: {error}")


def _settings(step: Step, values: dict[str, Any], *, or_none: bool) -> Iterator[Finding]:
    kind = step.config
    if not (isinstance(kind, type) and issubclass(kind, StepConfig)):
        yield Finding("settings", f"config = {kind!r} is no subclass of ftx.StepConfig")
        return
    yield from (Finding("settings", f"{name} has no description") for name in _undocumented(kind))
    loose = [name for name, wanted in (("extra", "forbid"), ("frozen", True)) if kind.model_config.get(name) != wanted]
    if loose:
        yield Finding("settings", f"{kind.__name__} changes {' and '.join(loose)} of ftx.StepConfig's model_config")
    if or_none and not values and any(field.is_required() for field in kind.model_fields.values()):
        return
    try:
        config = kind(**values)
        again = kind.model_validate_json(config.model_dump_json())
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        yield Finding("settings", f"{lines} (settings given to the check: {values or 'none'})")
        return
    if again != config:
        differ = [name for name in kind.model_fields if getattr(again, name) != getattr(config, name)]
        yield Finding("settings", f"{', '.join(differ)} comes back from JSON as another value")


def _undocumented(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in kind.model_fields.items():
        if not info.description:
            yield prefix + name
        for part in (info.annotation, *get_args(info.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _undocumented(part, f"{prefix}{name}.")


def _requires(step: Step) -> Iterator[Finding]:
    for name in step.requires:
        if find_spec(name) is None:
            yield Finding("requires", f"{name} is not installed here, so that the step cannot be checked: install it")


def _light(step: Step, plugin: PluginInfo) -> Iterator[Finding]:
    modules = [plugin.module, *([step.check.partition(":")[0]] if step.check else [])]
    try:
        heavy = heavy_imports(*modules)
    except RuntimeError as error:
        yield Finding("light", f"{' and '.join(modules)} cannot be imported in a fresh interpreter: {error}")
        return
    if heavy:
        yield Finding(
            "light",
            f"importing {' and '.join(modules)} imports {', '.join(heavy)}: move that into the module that `run` names",
        )
