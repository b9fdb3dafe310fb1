"""Figures as text: the same digits, signs and units everywhere in a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NONE = "–"


def plain(value: float | None, digits: int = 4) -> str:
    return NONE if value is None else f"{value:.{digits}f}".replace("-", "−")


def percent(value: float | None, digits: int = 1) -> str:
    return NONE if value is None else f"{100 * value:.{digits}f}%".replace("-", "−")


def points(value: float | None, digits: int = 1) -> str:
    """A difference of shares in hundredths, with its sign."""
    if value is None:
        return NONE
    figure = round(100 * value, digits)
    return f"{figure:+.{digits}f}".replace("-", "−") if figure else f"{0:.{digits}f}"


def interval(ends: Sequence[float] | None, digits: int = 4) -> str:
    return "" if not ends else f"{plain(ends[0], digits)} to {plain(ends[1], digits)}"


def percent_interval(ends: Sequence[float] | None, digits: int = 1) -> str:
    return "" if not ends else f"{100 * ends[0]:.{digits}f} to {100 * ends[1]:.{digits}f}%".replace("-", "−")


def points_interval(ends: Sequence[float] | None, digits: int = 1) -> str:
    return "" if not ends else f"{points(ends[0], digits)} to {points(ends[1], digits)}"


def megabytes(value: float | None) -> str:
    """Megabytes of 10^6 bytes."""
    if value is None:
        return NONE
    if value < 0.001:
        return f"{1e6 * value:.0f} B"
    return f"{value:.1f} MB" if value >= 1 else f"{1000 * value:.0f} kB"


def milliseconds(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f} ms" if value < 100 else f"{value:.0f} ms"


def rate(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def times(value: float) -> str:
    """A ratio with two digits where it is small: 1.8×, 12×."""
    return f"{value:.1f}×" if value < 9.95 else f"{value:.0f}×"


def seconds(value: float) -> str:
    if value < 100:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 6000 else f"{value / 3600:.1f} h"


def short(value: Any) -> str:
    """Any value of a configuration or of metrics, on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {short(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(short, value)) or "none"
    return str(value)
