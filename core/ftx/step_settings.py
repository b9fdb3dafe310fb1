"""Which step a word means, and its settings out of the stage's table."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ftx.config import DEFAULT_STORE, TABLES, Config, ProjectTable, resolve_paths, unknown_name, validate
from ftx.errors import Problem
from ftx.plugins import PluginManager
from ftx.step import Step
from ftx.store import Store


def methods_of(stage: str, plugins: PluginManager) -> dict[str, Step]:
    """Name -> step, of one stage."""
    return {step.name: step for step in plugins.steps().values() if step.stage == stage}


def find_step(word: str, config: Config, plugins: PluginManager) -> Step | Problem:
    """The step that `stage:method` or a bare `stage` means."""
    stage, _, method = word.partition(":")
    methods = methods_of(stage, plugins)
    if method in methods:
        return methods[method]
    if methods and not method:
        return default_method(stage, config, plugins)
    names = {*plugins.steps(), *(step.stage for step in plugins.steps().values())}
    near = difflib.get_close_matches(word, sorted(names), n=1, cutoff=0.5)
    message = f"unknown step {word}" + (f" (did you mean {near[0]}?)" if near else "")
    return Problem("; ".join([message, *_out_of_use(plugins)]), "", ("see what there is: ftx steps",))


def _out_of_use(plugins: PluginManager) -> list[str]:
    """The plugins that might have had what is missing."""
    broken = [f"the plugin {info} is broken: {info.error}" for info in plugins.broken()]
    return broken + [f"the plugin {name} is kept out by {reason}" for name, reason in plugins.blocked.items()]


def default_method(stage: str, config: Config, plugins: PluginManager) -> Step | Problem:
    """What the bare name of a stage means: `[stage] method`, the method marked default, or the only one."""
    methods = methods_of(stage, plugins)
    chosen = config.table(stage).get("method")
    if chosen is not None:
        if chosen in methods:
            return methods[chosen]
        return Problem(f"{stage}.method = {chosen!r}: there are {', '.join(sorted(methods))}")
    candidates = [step for step in methods.values() if step.default] or list(methods.values())
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        return Problem(f"no installed plugin offers the stage {stage}", "", ("see what is broken: ftx plugins",))
    names = " or ".join(sorted(step.full_name for step in candidates))
    return Problem(f"{stage} has several methods and no default: write {names}")


def check_tables(config: Config, plugins: PluginManager) -> Iterator[Problem]:
    """A key that no method of its stage has, or a table that belongs to no stage; planned or not."""
    stages = {step.stage for step in plugins.steps().values()}
    for name, table in config.values.items():
        if not isinstance(table, Mapping) or name in TABLES:
            continue
        if name in stages:
            yield from _check_table(name, table, config, plugins)
        else:
            problem = unknown_name(name, [*stages, *TABLES, *ProjectTable.model_fields])
            yield Problem("; ".join([problem.message, *_out_of_use(plugins)]), problem.where, problem.hints)


def settings_of(step: Step, config: Config, plugins: PluginManager) -> tuple[Any, dict[str, str], list[Problem]]:
    """The step's validated settings (None if there are problems), each field's source, and the problems.

    A key in `[stage]` reaches every method that has the field; the step's own sub-table wins.
    """
    table, methods, fields = config.table(step.stage), methods_of(step.stage, plugins), step.config.model_fields
    own = _sub_table(step.name, table, methods)
    shared = {name: value for name, value in table.items() if name in fields and not _sub_table(name, table, methods)}
    values = {**shared, **own}
    sources = dict.fromkeys(fields, "default")
    for name in values:
        dotted = f"{step.stage}.{step.name}.{name}" if name in own else f"{step.stage}.{name}"
        sources[name] = config.sources.get(dotted, "default")
    values, problems = resolve_paths(step.config, values, config.root, step.stage, _store_of(config))
    settings, invalid = validate(
        step.config, values, {f"{step.stage}.{name}": source for name, source in sources.items()}, step.stage
    )
    problems += invalid
    return (None if problems else settings), sources, problems


def _store_of(config: Config) -> Store:
    """The project's store, as far as its settings make sense: what is wrong with them is found elsewhere."""
    name = config.top_level().get("store")
    folder = Path(name if isinstance(name, str) else DEFAULT_STORE).expanduser()
    return Store((config.root / folder).resolve())


def _check_table(stage: str, table: Mapping[str, Any], config: Config, plugins: PluginManager) -> Iterator[Problem]:
    methods = methods_of(stage, plugins)
    known = {name for step in methods.values() for name in step.config.model_fields}
    for key in table:
        if own := _sub_table(key, table, methods):
            fields = methods[key].config.model_fields
            yield from (unknown_name(inner, fields, f"{stage}.{key}") for inner in own if inner not in fields)
        elif key not in known and key != "method":
            problem = unknown_name(key, [*known, *methods, "method"], stage)
            yield Problem(problem.message, config.sources.get(f"{stage}.{key}", ""), problem.hints)


def _sub_table(name: str, table: Mapping[str, Any], methods: Mapping[str, Step]) -> Mapping[str, Any]:
    """The table `[stage.name]`, if `name` is a method that has one."""
    value = table.get(name)
    return value if name in methods and isinstance(value, Mapping) else {}
