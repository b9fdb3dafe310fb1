"""Axes of a chart: round ticks, and the way from values to places in an SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 420, 290
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 14, 44
"""Of the plot within the SVG, in its units. A chart is drawn about as wide as it is shown on a telephone, so that its
text is legible there without another drawing for it."""


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, which are ticks, onto `start` to `end`."""

    low: float
    high: float
    ticks: tuple[float, ...]
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def clipped(self, value: float) -> float:
        return self.at(min(max(value, self.low), self.high))


def axis(values: Iterable[float], start: float, end: float, *, count: int = 5, zero: bool = False) -> Axis:
    """An axis that holds `values`, with about `count` round ticks; from 0 with `zero`."""
    found = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = (0.0 if zero else min(found)), max(found)
    if high - low < 1e-12:
        # One value alone: room on both sides of it.
        room = abs(high) * 0.1 or 1.0
        low, high = (low if zero else low - room), high + room
    step = _round_step((high - low) / count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(place * step, 10) for place in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks, start, end)


def log_axis(values: Iterable[float], start: float, end: float) -> Axis:
    """An axis of decimal logarithms: `at` takes the logarithm of a value. Ticks are 1, 2 and 5 times powers of ten, or
    the powers alone where those would be many; values that have no logarithm are left out."""
    found = [math.log10(value) for value in values if math.isfinite(value) and value > 0] or [0.0, 1.0]
    low, high = min(found), max(found)
    steps = (1, 2, 5) if high - low < 2.4 else (1,)
    powers = range(math.floor(low) - 1, math.ceil(high) + 2)
    logs = [math.log10(step) + power for power in powers for step in steps]
    first = max(tick for tick in logs if tick <= low + 1e-9)
    last = min(tick for tick in logs if tick >= high - 1e-9 and tick > first)
    ticks = tuple(tick for tick in logs if first <= tick <= last)
    return Axis(first, last, ticks, start, end)


def log_tick_text(tick: float) -> str:
    return tick_text(float(f"{10**tick:.3g}"))


def x_axis(values: Iterable[float], *, count: int = 5, zero: bool = False) -> Axis:
    return axis(values, LEFT, WIDTH - RIGHT, count=count, zero=zero)


def y_axis(values: Iterable[float], *, zero: bool = False) -> Axis:
    return axis(values, HEIGHT - BOTTOM, TOP, zero=zero)


def frame(across: Axis, up: Axis, titles: tuple[str, str], texts: tuple[Callable[[float], str], ...]) -> Markup:
    """Grid lines, the ticks' figures, and the axes' titles."""
    parts = [Markup('<g class="grid">')]
    parts += [
        Markup('<line x1="{}" x2="{}" y1="{}" y2="{}"/>').format(LEFT, WIDTH - RIGHT, up.at(tick), up.at(tick))
        for tick in up.ticks
    ]
    parts.append(Markup('</g><g class="ticks">'))
    parts += [
        Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(LEFT - 6, up.at(tick) + 4, texts[1](tick))
        for tick in up.ticks
    ]
    parts += [
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            across.at(tick), HEIGHT - BOTTOM + 20, texts[0](tick)
        )
        for tick in across.ticks
    ]
    parts.append(Markup('</g><g class="titles">'))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(middle, HEIGHT - 5, titles[0]))
    side = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        Markup('<text transform="translate(11 {}) rotate(-90)" text-anchor="middle">{}</text></g>').format(
            side, titles[1]
        )
    )
    return Markup("").join(parts)


def drawing(name: str, label: str, inside: Markup) -> Markup:
    """The SVG, which a screen reader calls `label`."""
    return Markup('<svg class="chart {}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        name, WIDTH, HEIGHT, label, inside
    )


def path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{'M' if place == 0 else 'L'}{x} {y}" for place, (x, y) in enumerate(points))


def tick_text(value: float) -> str:
    """A tick's figure, with no more digits than it needs."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:g}".replace("-", "−")


def _round_step(step: float) -> float:
    """The next of 1, 2, 2.5 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= step * (1 - 1e-9))
