"""Finding plugins, loading each in isolation, and the registry of what they add.

A broken plugin is reported with its distribution and version, and matters only to a plan that needs it. Two plugins
that register the same name are an error naming both; built-in names are reserved.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from typing import Any, TypeVar

import pluggy

from ftx import hookspecs
from ftx.errors import FtxError, Problem
from ftx.step import Architecture, Command, Executor, Metric, Runtime, Step

ENTRY_POINTS = "ftx"
DISTRIBUTION = "ftx-toolchain"
BUILT_IN = (
    "ftx_plugins.model.hooks",
    "ftx_plugins.data.hooks",
    "ftx_plugins.train.hooks",
    "ftx_plugins.prune.hooks",
    "ftx_plugins.quantize.hooks",
    "ftx_plugins.export.hooks",
    "ftx_plugins.evaluate.hooks",
    "ftx_plugins.choose.hooks",
    "ftx_plugins.metrics.hooks",
    "ftx_serving.hooks",
)
SLOW_IMPORT_MS = 300

Registered = TypeVar("Registered", Step, Metric, Runtime, Command, Executor, Architecture)


@dataclass(frozen=True)
class PluginInfo:
    """A plugin that was found: where it comes from, how long its import took, and why it is not in use, if so."""

    name: str
    module: str
    distribution: str
    version: str
    built_in: bool
    milliseconds: float = 0.0
    error: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"


@dataclass
class PluginManager:
    """What is installed, and what it adds. Made by `PluginManager.load`."""

    infos: list[PluginInfo] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """Clashes of names: they keep every plan from running until one side is blocked."""
    _pluggy: pluggy.PluginManager = field(default_factory=lambda: pluggy.PluginManager(hookspecs.PROJECT))
    _origins: dict[tuple[str, str], PluginInfo] = field(default_factory=dict)

    @classmethod
    def load(cls, *, third_party: bool = True, built_in: bool = True) -> PluginManager:
        """Load the built-in plugins and those of installed packages (entry-point group `ftx`).

        `FTX_PLUGINS` holds names, comma-separated: only those of third parties load; a name behind `-` is blocked
        instead. `FTX_STRICT_PLUGINS=1` makes a broken plugin an error (`FtxError`).
        """
        manager = cls()
        manager._pluggy.add_hookspecs(hookspecs)
        for module in BUILT_IN if built_in else ():
            manager.add(module.removesuffix(".hooks"), module, DISTRIBUTION, own_version(), built_in=True)
        if third_party:
            wanted = _wanted(os.environ.get("FTX_PLUGINS"))
            for point in sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
                # Names are filtered before anything is imported: a blocked plugin cannot do harm.
                if wanted(point.name):
                    distribution = point.dist.name if point.dist else "?"
                    version = point.dist.version if point.dist else "?"
                    manager.add(point.name, point.value, distribution, version, built_in=False)
        if os.environ.get("FTX_STRICT_PLUGINS", "") not in ("", "0"):
            manager._raise_broken()
        return manager

    def add(self, name: str, module: str, distribution: str, version: str, *, built_in: bool = False) -> None:
        """Load one plugin from a module; whatever goes wrong is kept in its info."""
        started = time.perf_counter()
        error = ""
        try:
            self._register(importlib.import_module(module), name)
        except (
            Exception,
            SystemExit,
        ) as exception:  # whatever a plugin does at import: it is reported, and ftx goes on
            error = f"{type(exception).__name__}: {exception}"
        milliseconds = (time.perf_counter() - started) * 1000
        self.infos.append(PluginInfo(name, module, distribution, version, built_in, milliseconds, error))

    def steps(self) -> Mapping[str, Step]:
        """`stage:method` -> step, of all plugins."""
        return self._steps

    def metrics(self, task: str) -> Mapping[str, Metric]:
        """Name -> metric, of those that serve `task`."""
        return {metric.name: metric for metric in self._metrics.values() if task in metric.tasks}

    def all_metrics(self) -> Mapping[str, Metric]:
        """Name -> metric, whatever its tasks."""
        return self._metrics

    def runtimes(self) -> Mapping[str, Runtime]:
        return self._runtimes

    def commands(self) -> Mapping[str, Command]:
        return self._commands

    def executors(self) -> Mapping[str, Executor]:
        return self._executors

    def architectures(self) -> Mapping[str, Architecture]:
        return self._architectures

    def origin(self, registered: Step | Metric | Runtime | Command | Executor | Architecture) -> PluginInfo:
        """The plugin that registered this."""
        return self._origins[type(registered).__name__, _name(registered)]

    def broken(self) -> list[PluginInfo]:
        return [info for info in self.infos if info.error]

    def notify(self, observer: str, **values: Any) -> list[str]:
        """Call an observer hook of each plugin; returns what went wrong, which never fails a run."""
        errors = []
        for implementation in getattr(self._pluggy.hook, observer).get_hookimpls():
            try:
                implementation.function(*(values[name] for name in implementation.argnames))
            except Exception as error:
                errors.append(f"the plugin {implementation.plugin_name} failed in {observer}: {error!r}")
        return errors

    @cached_property
    def _steps(self) -> dict[str, Step]:
        steps: dict[str, Step] = {}
        for hook in (*hookspecs.STAGE_HOOKS, "ftx_steps"):
            steps.update(self._collect(hook, Step, taken=steps))
        for stage in {step.stage for step in steps.values()}:
            defaults = [step.full_name for step in steps.values() if step.stage == stage and step.default]
            if len(defaults) > 1:
                self.problems.append(Problem(f"{' and '.join(defaults)} are both the default of {stage}", "plugins"))
        return steps

    @cached_property
    def _metrics(self) -> dict[str, Metric]:
        return self._collect("ftx_metrics", Metric)

    @cached_property
    def _runtimes(self) -> dict[str, Runtime]:
        return self._collect("ftx_runtimes", Runtime)

    @cached_property
    def _commands(self) -> dict[str, Command]:
        return self._collect("ftx_commands", Command)

    @cached_property
    def _executors(self) -> dict[str, Executor]:
        return {"local": LOCAL, **self._collect("ftx_executors", Executor, taken={"local": LOCAL})}

    @cached_property
    def _architectures(self) -> dict[str, Architecture]:
        return self._collect("ftx_architectures", Architecture)

    def _register(self, module: Any, name: str) -> None:
        try:
            self._pluggy.register(module, name)
            self._pluggy.check_pending()
        except pluggy.PluginValidationError:
            if self._pluggy.has_plugin(name):
                self._pluggy.unregister(name=name)
            raise

    def _collect(
        self, hook: str, expected: type[Registered], taken: Mapping[str, Registered] | None = None
    ) -> dict[str, Registered]:
        found: dict[str, Registered] = {}
        implementations = getattr(self._pluggy.hook, hook).get_hookimpls()
        by_name = {implementation.plugin_name: implementation for implementation in implementations}
        # In the order of loading, built-in plugins first: a clash is then always the later one's.
        for info in [info for info in self.infos if not info.error and info.name in by_name]:
            try:
                values = _checked(by_name[info.name].function(), expected, hook)
            except Exception as exception:
                self._mark_broken(info, f"{hook}: {type(exception).__name__}: {exception}")
                continue
            for value in values:
                name = _name(value)
                if name in found or name in (taken or {}):
                    self._clash(expected.__name__.lower(), name, info)
                else:
                    found[name] = value
                    self._origins[expected.__name__, name] = info
        return found

    def _clash(self, what: str, name: str, info: PluginInfo) -> None:
        first = self._origins.get((what.capitalize(), name))
        self.problems.append(
            Problem(
                f"the {what} {name} is registered by both {first or 'ftx'} and {info}",
                "plugins",
                (f"block one of them: FTX_PLUGINS=-{info.name} ftx …",),
            )
        )

    def _mark_broken(self, info: PluginInfo, error: str) -> None:
        place = self.infos.index(info)
        self.infos[place] = PluginInfo(
            info.name, info.module, info.distribution, info.version, info.built_in, info.milliseconds, error
        )

    def _raise_broken(self) -> None:
        _ = (self._steps, self._metrics, self._runtimes, self._commands, self._executors, self._architectures)
        if broken := self.broken():
            lines = [f"{info}: {info.error}" for info in broken]
            raise FtxError(
                "FTX_STRICT_PLUGINS is set, and there are broken plugins\n  " + "\n  ".join(lines), "ftx plugins"
            )


LOCAL = Executor("local", "in this process", "ftx.executor:execute")


def own_version() -> str:
    """The version of ftx that is installed."""
    from ftx import __version__

    return __version__


def _wanted(setting: str | None) -> Callable[[str], bool]:
    names = [name.strip() for name in (setting or "").split(",") if name.strip()]
    blocked = {name[1:] for name in names if name.startswith("-")}
    allowed = {name for name in names if not name.startswith("-")}
    if setting is not None and not names:
        return lambda name: False
    return lambda name: name not in blocked and (not allowed or name in allowed)


def _checked(values: Iterable[Registered] | None, expected: type[Registered], hook: str) -> Sequence[Registered]:
    result = list(values or ())
    for value in result:
        if not isinstance(value, expected):
            raise TypeError(f"returned {value!r}, not a {expected.__name__}")
        stage = hookspecs.STAGE_HOOKS.get(hook)
        if isinstance(value, Step) and stage and value.stage != stage:
            raise ValueError(f"returned the step {value.full_name}, which is not of the stage {stage}")
    return result


def _name(value: Step | Metric | Runtime | Command | Executor | Architecture) -> str:
    return value.full_name if isinstance(value, Step) else value.name
