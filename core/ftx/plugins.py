"""Loading each plugin in isolation, and the registry of what they add.

A broken plugin is reported with its distribution and version, and matters only to a plan that needs it. Two plugins
that register the same name are an error naming both; built-in names are reserved.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pluggy

from ftx import api_version, hookspecs
from ftx.discovery import PluginInfo, Selection, find_plugins
from ftx.errors import FtxError, Problem
from ftx.registration import Registered, checked, name_of
from ftx.step import Architecture, Command, Executor, Metric, Runtime, Step, Translator

DISTRIBUTION = "ftx-toolchain"
BUILT_IN = (
    "ftx_plugins.model.hooks",
    "ftx_plugins.data.hooks",
    "ftx_plugins.augment.hooks",
    "ftx_plugins.train.hooks",
    "ftx_plugins.distill.hooks",
    "ftx_plugins.prune.hooks",
    "ftx_plugins.quantize.hooks",
    "ftx_plugins.export.hooks",
    "ftx_plugins.evaluate.hooks",
    "ftx_plugins.choose.hooks",
    "ftx_plugins.metrics.hooks",
    "ftx_serving.hooks",
    "ftx_loadtests.hooks",
)
SLOW_IMPORT_MS = 300
STRICT = "FTX_STRICT_PLUGINS"
NO_PLUGINS = "--no-plugins"
"""The option of `ftx`, as the reason why a plugin is not there."""


@dataclass
class PluginManager:
    """What is installed, and what it adds. Made by `PluginManager.load`."""

    infos: list[PluginInfo] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """Clashes of names: they keep every plan from running until one side is blocked."""
    blocked: Mapping[str, str] = field(default_factory=dict)
    """Plugin -> what keeps it from loading, though it is installed: `FTX_PLUGINS` or `--no-plugins`."""
    _pluggy: pluggy.PluginManager = field(default_factory=lambda: pluggy.PluginManager(hookspecs.PROJECT))
    _origins: dict[tuple[str, str], PluginInfo] = field(default_factory=dict)

    @classmethod
    def load(cls, *, third_party: bool = True, built_in: bool = True, strict: bool | None = None) -> PluginManager:
        """Load the built-in plugins and those of installed packages (entry-point group `ftx`).

        `FTX_PLUGINS` chooses among those of third parties (see `Selection`). `FTX_STRICT_PLUGINS=1`, or `strict`,
        makes a broken plugin, or two that clash, an error (`FtxError`).
        """
        manager = cls()
        manager._pluggy.add_hookspecs(hookspecs)
        for module in BUILT_IN if built_in else ():
            manager.add(module.removesuffix(".hooks"), module, DISTRIBUTION, own_version(), built_in=True)
        manager._add_installed(third_party)
        if os.environ.get(STRICT, "") not in ("", "0") if strict is None else strict:
            manager._raise_broken()
        return manager

    def add(self, name: str, module: str, distribution: str, version: str, *, built_in: bool = False) -> None:
        """Load one plugin from a module; whatever goes wrong is kept in its info."""
        self._add(PluginInfo(name, module, distribution, version, built_in))

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

    def translators(self) -> Mapping[str, Translator]:
        return self._translators

    def origin(
        self, registered: Step | Metric | Runtime | Command | Executor | Architecture | Translator
    ) -> PluginInfo:
        """The plugin that registered this."""
        return self._origins[type(registered).__name__, name_of(registered)]

    def broken(self) -> list[PluginInfo]:
        return [info for info in self.infos if info.error]

    def find_clashes(self) -> list[Problem]:
        """Ask every adding hook but that of commands, and return the problems of all of them."""
        _ = (self._steps, self._metrics, self._runtimes, self._executors, self._architectures, self._translators)
        return self.problems

    def notify(self, observer: str, **values: Any) -> list[str]:
        """Call an observer hook of each plugin; returns what went wrong, which never fails a run."""
        errors = []
        for implementation in self._implementations(observer):
            try:
                implementation.function(*(values[name] for name in implementation.argnames))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                errors.append(f"the plugin {implementation.plugin_name} failed in {observer}: {error!r}")
        return errors

    @cached_property
    def _steps(self) -> dict[str, Step]:
        steps: dict[str, Step] = {}
        for hook in (*hookspecs.STAGE_HOOKS, "ftx_steps"):
            steps.update(self._collect(hook, Step, taken=steps))
        for stage in sorted({step.stage for step in steps.values()}):
            defaults = [step for step in steps.values() if step.stage == stage and step.default]
            if len(defaults) > 1:
                first, second, *_ = defaults
                self._report_clash("default of", stage, self.origin(first), self.origin(second))
        return steps

    @cached_property
    def _metrics(self) -> dict[str, Metric]:
        return self._collect("ftx_metrics", Metric)

    @cached_property
    def _runtimes(self) -> dict[str, Runtime]:
        return self._collect("ftx_runtimes", Runtime)

    @cached_property
    def _commands(self) -> dict[str, Command]:
        from ftx.cli import COMMANDS  # the command line imports this module

        own = {name: Command(name, summary, target) for name, (target, summary) in COMMANDS.items()}
        return self._collect("ftx_commands", Command, taken=own)

    @cached_property
    def _executors(self) -> dict[str, Executor]:
        return {"local": LOCAL, **self._collect("ftx_executors", Executor, taken={"local": LOCAL})}

    @cached_property
    def _architectures(self) -> dict[str, Architecture]:
        return self._collect("ftx_architectures", Architecture)

    @cached_property
    def _translators(self) -> dict[str, Translator]:
        return self._collect("ftx_translators", Translator)

    def _add_installed(self, third_party: bool) -> None:
        setting = os.environ.get("FTX_PLUGINS")
        selection = Selection.parse(setting)
        installed = find_plugins()
        blocked: dict[str, str] = {}
        for info in installed:
            # Names are filtered before anything is imported: a blocked plugin cannot do harm.
            if not third_party:
                blocked[info.name] = NO_PLUGINS
            elif not selection.admits(info):
                blocked[info.name] = f"FTX_PLUGINS={setting}"
            elif info.error:
                self.infos.append(info)
            else:
                self._add(info)
        self.blocked = blocked
        known = {name for info in installed for name in (info.name, info.distribution)}
        for name in sorted(selection.only - known) if third_party else ():
            near = difflib.get_close_matches(name, sorted(known), n=1)
            message = f"FTX_PLUGINS names {name}, which is not installed"
            message += f" (did you mean {near[0]}?)" if near else ""
            self.problems.append(Problem(message, "plugins", ("see what there is: FTX_PLUGINS= ftx plugins",)))

    def _add(self, info: PluginInfo) -> None:
        namesake = next((other for other in self.infos if other.name == info.name and not other.error), None)
        started = time.perf_counter()
        error = f"its name is taken by {namesake}" if namesake else ""
        deprecations: list[str] = []
        if not error:
            try:
                with _kept_apart(deprecations):
                    self._register(importlib.import_module(info.module), info.name)
            except KeyboardInterrupt:
                raise
            except BaseException as exception:  # whatever a plugin does at import: it is reported, and ftx goes on
                error = f"{type(exception).__name__}: {exception}"
                if self._pluggy.has_plugin(info.name):
                    self._pluggy.unregister(name=info.name)
        milliseconds = (time.perf_counter() - started) * 1000
        self.infos.append(replace(info, milliseconds=milliseconds, error=error, deprecations=tuple(deprecations)))

    def _register(self, module: Any, name: str) -> None:
        self._pluggy.register(module, name)
        self._check_hooks(module)

    def _check_hooks(self, module: Any) -> None:
        """Raise `ValueError` for a hook that ftx does not have, and for one of a sort that ftx does not call."""
        for caller in self._pluggy.get_hookcallers(module) or ():
            own = [implementation for implementation in caller.get_hookimpls() if implementation.plugin is module]
            if entry := api_version.renamed(caller.name):
                # A plugin that has both names works with two versions of ftx, and does nothing deprecated.
                if not hasattr(module, entry.new):
                    api_version.allow(entry, stacklevel=1)
            elif not caller.has_spec() and not all(implementation.optionalhook for implementation in own):
                hooks = [name for name in vars(hookspecs) if name.startswith("ftx_")]
                near = difflib.get_close_matches(caller.name, hooks, n=1)
                raise ValueError(f"unknown hook {caller.name}" + (f" (did you mean {near[0]}?)" if near else ""))
            if any(implementation.wrapper or implementation.hookwrapper for implementation in own):
                raise ValueError(f"{caller.name} is a wrapper, and ftx calls none: each plugin's values stand alone")

    def _implementations(self, hook: str) -> list[Any]:
        """Each plugin's implementation of a hook: by its name, else by one that it had before."""
        found = list(getattr(self._pluggy.hook, hook).get_hookimpls())
        for entry in api_version.RENAMED:
            if entry.new == hook and not entry.owner and hasattr(self._pluggy.hook, entry.old):
                known = {implementation.plugin_name for implementation in found}
                older = getattr(self._pluggy.hook, entry.old).get_hookimpls()
                found += [implementation for implementation in older if implementation.plugin_name not in known]
        return found

    def _collect(
        self, hook: str, expected: type[Registered], taken: Mapping[str, Registered] | None = None
    ) -> dict[str, Registered]:
        found: dict[str, Registered] = {}
        by_name = {implementation.plugin_name: implementation for implementation in self._implementations(hook)}
        # In the order of loading, built-in plugins first: a clash is then always the later one's.
        usable = [each for each in self.infos if not each.error and each.name in by_name]
        info: PluginInfo
        for info in usable:
            deprecations: list[str] = []
            try:
                with _kept_apart(deprecations):
                    values = checked(by_name[info.name].function(), expected, hook)
            except KeyboardInterrupt:
                raise
            except BaseException as exception:
                error = f"{hook}: {type(exception).__name__}: {exception}"
                self._note(info, error=error)
                continue
            if deprecations:
                self._note(info, deprecations=tuple(dict.fromkeys([*info.deprecations, *deprecations])))
            for value in values:
                name, what = name_of(value), expected.__name__
                if name in found or name in (taken or {}):
                    self._report_clash(what.lower(), name, self._origins.get((what, name)), info)
                else:
                    found[name] = value
                    self._origins[what, name] = info
        return found

    def _note(self, info: PluginInfo, **facts: Any) -> None:
        self.infos[self.infos.index(info)] = replace(info, **facts)

    def _report_clash(self, what: str, name: str, first: PluginInfo | None, second: PluginInfo) -> None:
        if first and (first.name, first.distribution) == (second.name, second.distribution):
            message = f"the {what} {name} is registered twice by {second}"
        else:
            message = f"the {what} {name} is registered by both {first or 'ftx'} and {second}"
        hint = f"block one of them: FTX_PLUGINS=-{second.name} ftx …"
        self.problems.append(Problem(message, "plugins", (hint,)))

    def _raise_broken(self) -> None:
        _ = (self.find_clashes(), self._commands)
        lines = [f"{info}: {info.error}" for info in self.broken()] + [str(problem) for problem in self.problems]
        if lines:
            raise FtxError(
                f"{STRICT} is set, and there are broken plugins\n  " + "\n  ".join(lines),
                *(info.repair for info in self.broken()),
                "see all of them: ftx plugins",
            )


LOCAL = Executor("local", "in this process", "ftx.executor:execute")


def own_version() -> str:
    """The version of ftx that is installed."""
    from ftx import __version__

    return __version__


@contextlib.contextmanager
def _kept_apart(deprecations: list[str]) -> Iterator[None]:
    """While a plugin's code runs: what it prints goes to stderr, and what it uses that is deprecated is noted.

    stdout may be a JSON document that a program reads.
    """
    with contextlib.redirect_stdout(sys.stderr):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", api_version.ApiDeprecation)
            yield
        for warning in caught:
            if issubclass(warning.category, api_version.ApiDeprecation):
                deprecations.append(str(warning.message))
            # Python's filters decide whether it is shown: in pytest it is, and with -W error it breaks the plugin.
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
