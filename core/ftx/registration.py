"""What a plugin's hook gave, checked: a value that could not work is the plugin's fault, and is said to be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from types import NoneType
from typing import TypeVar, get_args

from ftx import hookspecs
from ftx.artifacts import Artifact
from ftx.step import Architecture, Command, Executor, Metric, Runtime, Step, Translator

Registered = TypeVar("Registered", Step, Metric, Runtime, Command, Executor, Architecture, Translator)

NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
IMPORT_STRING = re.compile(r"[\w.]+:\w+")
IMPORT_STRINGS = ("run", "check", "compute", "load", "command", "execute", "translate")
"""The fields that name something to import."""
TAKEN_TABLES = ("budget", "requires", "seed", "device", "store")
"""Names in ftx.toml that no stage can have."""


def checked(values: Iterable[Registered] | None, expected: type[Registered], hook: str) -> Sequence[Registered]:
    """What `hook` returned, as a list; `TypeError` or `ValueError` says what is wrong with it."""
    result = list(values or ())
    for value in result:
        if not isinstance(value, expected):
            raise TypeError(f"returned {value!r}, not a {expected.__name__}")
        _check_names(value)
        if isinstance(value, Step):
            _check_step(value, hook)
    return result


def name_of(value: Step | Metric | Runtime | Command | Executor | Architecture | Translator) -> str:
    """The name that no other value of its kind may have."""
    return value.full_name if isinstance(value, Step) else value.name


def _check_names(value: Step | Metric | Runtime | Command | Executor | Architecture | Translator) -> None:
    for name in (value.name, *([value.stage] if isinstance(value, Step) else ())):
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name: letters, digits, _ . and - alone")
    for field in IMPORT_STRINGS:
        target = getattr(value, field, None)
        if target is not None and not (isinstance(target, str) and IMPORT_STRING.fullmatch(target)):
            raise ValueError(f"{name_of(value)}: {field} = {target!r} is no import string (package.module:name)")


def _check_step(step: Step, hook: str) -> None:
    stage = hookspecs.STAGE_HOOKS.get(hook)
    if stage and step.stage != stage:
        raise ValueError(f"returned the step {step.full_name}, which is not of the stage {stage}")
    if step.stage in TAKEN_TABLES:
        raise ValueError(f"{step.full_name}: {step.stage} means something else in ftx.toml, and can be no stage")
    # Imported here: whoever gave a step has imported pydantic already, and `ftx --help` need not.
    from ftx.settings import StepConfig

    if not (isinstance(step.config, type) and issubclass(step.config, StepConfig)):
        raise TypeError(f"{step.full_name}: config = {step.config!r} is no class derived from ftx.StepConfig")
    for name, kind in step.takes.items():
        members = get_args(kind) or (kind,)
        if not all(isinstance(member, type) and issubclass(member, Artifact | NoneType) for member in members):
            raise TypeError(f"{step.full_name}: takes {name} = {kind!r} is no kind of artifact")
    given = step.gives
    if given not in (None, "model") and not (isinstance(given, type) and issubclass(given, Artifact)):
        raise TypeError(f"{step.full_name}: gives = {given!r} is no kind of artifact, 'model' or None")
    if given == "model" and "model" not in step.takes:
        raise ValueError(f"{step.full_name}: gives 'model', and takes no input of that name")
