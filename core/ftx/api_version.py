"""The version of the interface that plugins are written against, and what of it is promised to stay.

It counts apart from ftx's own version. A minor version may add, and may rename what is stable: the old name then
works for that one minor version, with an `ApiDeprecation` that names the new one, and is an error that names it from
the next one on. What is provisional may change with any version.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

API_VERSION = "1.0"
"""Major and minor version of the hooks, and of the types that they give."""

Status = Literal["stable", "provisional"]
Class = TypeVar("Class", bound=type[Any])

STABLE_HOOKS = frozenset(
    {
        "ftx_train",
        "ftx_prune",
        "ftx_quantize",
        "ftx_export",
        "ftx_steps",
        "ftx_metrics",
        "ftx_runtimes",
        "ftx_commands",
        "ftx_run_started",
        "ftx_step_started",
        "ftx_step_finished",
        "ftx_step_failed",
        "ftx_run_finished",
    }
)
"""Every other hook is provisional."""

STABLE_FIELDS: Mapping[str, frozenset[str]] = {
    "Step": frozenset(
        {"name", "stage", "summary", "run", "config", "takes", "gives", "requires", "version", "default", "cached"}
    ),
    "Metric": frozenset({"name", "summary", "compute", "tasks", "requires", "higher_is_better"}),
    "Runtime": frozenset({"name", "summary", "load", "formats", "devices", "requires"}),
    "Command": frozenset({"name", "summary", "command"}),
    "Context": frozenset({"step", "out", "work", "seed", "device", "progress", "log", "warn", "describe"}),
}
"""Type -> its fields and methods that are stable; every other one is provisional."""


@dataclass(frozen=True)
class Renamed:
    """A stable name that has become another: a hook (`owner` is empty), or a field of the type `owner`."""

    old: str
    new: str
    since: str
    """The API version that renamed it."""
    owner: str = ""

    def __str__(self) -> str:
        place = f"{self.owner}." if self.owner else ""
        return f"{place}{self.old} is called {place}{self.new} since version {self.since} of the API of plugins"


RENAMED: tuple[Renamed, ...] = ()
"""Entries stay for good: long after the old name has gone, its error still names the new one."""


class ApiDeprecation(DeprecationWarning):
    """A plugin uses a name that works for this minor version alone."""


def hook_status(name: str) -> Status:
    return "stable" if name in STABLE_HOOKS else "provisional"


def field_status(owner: str, name: str) -> Status:
    return "stable" if name in STABLE_FIELDS.get(owner, ()) else "provisional"


def renamed(name: str, owner: str = "") -> Renamed | None:
    """How `name` came to be called something else, if it did."""
    return next((entry for entry in RENAMED if (entry.old, entry.owner) == (name, owner)), None)


def allow(entry: Renamed, stacklevel: int) -> None:
    """Warn of an old name within the minor version that renamed it; `TypeError` from the next one on."""
    if _parts(entry.since) < _parts(API_VERSION):
        raise TypeError(str(entry))
    warnings.warn(f"{entry}; {entry.old} goes with the next minor version", ApiDeprecation, stacklevel + 1)


def with_renamed_fields(owner: Class) -> Class:
    """Let a dataclass be made, and read, by the names that `RENAMED` has for its fields."""
    make = owner.__init__

    @functools.wraps(make)
    def __init__(self: Any, *arguments: Any, **values: Any) -> None:  # noqa: N807
        for name in list(values):
            if entry := renamed(name, owner.__name__):
                allow(entry, stacklevel=2)
                if entry.new in values:
                    raise TypeError(f"{owner.__name__} was given both {entry.new} and {entry.old}, its old name")
                values[entry.new] = values.pop(name)
        make(self, *arguments, **values)

    def __getattr__(self: Any, name: str) -> Any:  # noqa: N807
        if entry := renamed(name, owner.__name__):
            allow(entry, stacklevel=2)
            return getattr(self, entry.new)
        raise AttributeError(f"{owner.__name__!r} object has no attribute {name!r}")

    setattr(owner, "__init__", __init__)  # noqa: B010  mypy allows no assignment to __init__
    setattr(owner, "__getattr__", __getattr__)  # noqa: B010
    return owner


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
