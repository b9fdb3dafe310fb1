"""What a sweep varies: ranges and choices out of `--set`, checked against the settings that they are for.

train.learning_rate=1e-5..1e-4:log    numbers between two, drawn evenly on a logarithmic scale
train.epochs=1..4                     whole numbers, both ends included
train.loss=cross-entropy|focal        one of these
train.batch_size=16                   no range: the same in every trial
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from ftx.config import parse_value
from ftx.errors import Problem
from ftx.plugins import PluginManager

FIXED_TABLES = ("budget", "requires", "store", "device")
"""What no trial may have for itself: the trials would not be comparable, or not be found again."""
DIGITS = 4
"""Significant digits of a number that is drawn: it is to be typed."""
_RANGE = re.compile(r"(?P<low>[^|]*?)\.\.(?P<high>[^|:]*)(?::(?P<scale>.*))?")


@dataclass(frozen=True)
class Interval:
    """Numbers from `low` to `high`, both included."""

    key: str
    low: float
    high: float
    integer: bool
    log: bool

    @property
    def edges(self) -> tuple[str, ...]:
        return self.text(self.low), self.text(self.high)

    @property
    def values(self) -> tuple[str, ...] | None:
        """All of them, where they can be counted."""
        return tuple(map(str, range(int(self.low), int(self.high) + 1))) if self.integer else None

    def text(self, number: float) -> str:
        """`number` as it is typed: not more digits than matter, and within the interval."""
        if self.integer:
            return str(int(number))
        return repr(min(max(float(f"{number:.{DIGITS}g}"), self.low), self.high))


@dataclass(frozen=True)
class Choices:
    """One of several values, each as it was typed."""

    key: str
    values: tuple[str, ...]

    @property
    def edges(self) -> tuple[str, ...]:
        return self.values


Space = Interval | Choices


@dataclass(frozen=True)
class Asked:
    """The `--set`s of a sweep: those with a range or choices, and the others as they are."""

    spaces: tuple[Space, ...]
    fixed: tuple[str, ...]


def read_settings(settings: Sequence[str], plugins: PluginManager) -> tuple[Asked, list[Problem]]:
    """Tell ranges and choices from plain values; everything that is wrong with them."""
    spaces: list[Space] = []
    fixed: list[str] = []
    problems: list[Problem] = []
    for setting in settings:
        key, _, text = (part.strip() for part in setting.partition("="))
        found = _read(key, text, plugins)
        if found is None:
            fixed.append(setting)
        elif isinstance(found, str):
            hint = "for example: --set 'train.learning_rate=1e-5..1e-4:log' or --set 'train.loss=cross-entropy|focal'"
            problems.append(Problem(found, f"--set {setting}", (hint,)))
        elif key.partition(".")[0] in FIXED_TABLES:
            hint = f"give it one value, for every trial: --set {key}=VALUE"
            problems.append(Problem(f"{key} is the same for the whole sweep", f"--set {setting}", (hint,)))
        else:
            spaces.append(found)
    keys = [space.key for space in spaces] + [setting.partition("=")[0].strip() for setting in fixed]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        problems.append(Problem(f"{key} is set more than once", "--set", ("give it one range, or one value",)))
    if not spaces and not problems:
        hint = "give a range: --set 'train.learning_rate=1e-5..1e-4:log'"
        problems.append(Problem("nothing to search for: no setting has a range", "--set", (hint,)))
    return Asked(tuple(spaces), tuple(fixed)), problems


def _read(key: str, text: str, plugins: PluginManager) -> Space | str | None:
    """A range or choices; what is wrong with them; or None for a plain value."""
    if not isinstance(parse_value(text), str) or text[:1] in ("'", '"'):
        return None
    if range_ := _RANGE.fullmatch(text):
        ends = [parse_value(range_[name].strip()) for name in ("low", "high")]
        # A path may have two dots as well: a range has a number on at least one side.
        if any(_is_number(end) for end in ends):
            return _interval(key, ends, range_["scale"], plugins)
    return _choices(key, text) if "|" in text else None


def _interval(key: str, ends: Sequence[Any], scale: str | None, plugins: PluginManager) -> Interval | str:
    if wrong := [end for end in ends if not _is_number(end)]:
        return f"{wrong[0]!r} is no number: a range is LOW..HIGH"
    low, high = ends
    if scale not in (None, "log"):
        return f"{scale!r} is no scale: a range ends in :log, or in nothing"
    if not low < high:
        return f"the range is empty: {low} is not below {high}"
    if scale == "log" and low <= 0:
        return f"a logarithmic range begins above 0, not at {low}"
    integer = isinstance(low, int) and isinstance(high, int) and not _takes_floats(key, plugins)
    return Interval(key, low, high, integer, log=scale == "log")


def _choices(key: str, text: str) -> Choices | str:
    values = tuple(value.strip() for value in text.split("|"))
    if not all(values):
        return 'a choice is empty; a value that has a | in it is written in quotes: "|"'
    if twice := next((value for value in values if values.count(value) > 1), None):
        return f"{twice} is named twice"
    return Choices(key, values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _takes_floats(key: str, plugins: PluginManager) -> bool:
    """Whether the setting may be any number: `0..1` then means those in between too."""
    stage, _, name = key.partition(".")
    name = name.rpartition(".")[2]
    fields = (step.config.model_fields.get(name) for step in plugins.steps().values() if step.stage == stage)
    return any(float in _types(field.annotation) for field in fields if field is not None)


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for argument in get_args(annotation):
        yield from _types(argument)


def as_settings(values: Mapping[str, str]) -> tuple[str, ...]:
    """`KEY=VALUE`s for `--set`."""
    return tuple(f"{key}={value}" for key, value in values.items())
