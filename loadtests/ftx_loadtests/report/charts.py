"""The charts of a load test, as SVG: legible without JavaScript, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ftx.chart_axes import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    drawing,
    frame,
    log_axis,
    log_tick_text,
    path,
    tick_text,
    x_axis,
    y_axis,
)
from ftx_loadtests.measurement import Phase
from ftx_loadtests.samples import Samples
from ftx_loadtests.saturation import Judged
from ftx_loadtests.stages import LengthBucket
from ftx_loadtests.statistics import quantile

POINTS = 160
"""Of a line: as many as a chart of this size shows apart."""
DOTS = 500
WINDOWS = 60
FEWEST_IN_WINDOW = 5


@dataclass(frozen=True)
class Line:
    """A line of a chart, of (x, y) pairs; it is broken where y is not finite."""

    name: str
    points: Sequence[tuple[float, float]]


def distribution(samples: Samples, slo_ms: float | None) -> Markup:
    """The share of all requests that were answered within a time, over that time (logarithmic)."""
    lines = [Line("from the scheduled start", _cumulative(samples.latency))]
    if samples.ok.any() and not samples.ok.all():
        lines.append(Line("of those answered", _cumulative(samples.latency[samples.ok])))
    times = [x for line in lines for x, _ in line.points]
    across = log_axis([*times, *_known(slo_ms)], LEFT, WIDTH - RIGHT)
    up = y_axis([0.0, 1.0])
    parts = [frame(across, up, ("milliseconds", "share of requests"), (log_tick_text, lambda tick: f"{tick:.0%}"))]
    if slo_ms is not None:
        parts.append(_upright(across.at(math.log10(slo_ms)), f"SLO {slo_ms:g} ms"))
    parts += [_drawn(line, place, _log(across), up.at) for place, line in enumerate(lines)]
    return drawing("distribution", _said("Share of requests over latency", lines), Markup("").join(parts))


def timeline(samples: Samples, phases: Sequence[Phase], slo_ms: float | None) -> Markup:
    """p50 and p95 of what was due in each window of the test (latency logarithmic)."""
    start, end = min(phase.start for phase in phases), max(phase.end for phase in phases)
    edges = np.linspace(start, end, WINDOWS + 1)
    latency = samples.latency * 1000.0
    lines = [Line(f"p{100 * q:g}", _windowed(samples.scheduled, latency, edges, q)) for q in (0.5, 0.95)]
    up = log_axis([*(y for line in lines for _, y in line.points), *_known(slo_ms)], HEIGHT - BOTTOM, TOP)
    across = x_axis([start, end])
    parts = [frame(across, up, ("seconds of the test", "milliseconds"), (tick_text, log_tick_text))]
    if 1 < len(phases) <= 8:
        # More names than these would lie on each other.
        parts += [_upright(across.clipped(phase.start), phase.name if len(phases) <= 3 else "") for phase in phases]
    if slo_ms is not None:
        parts.append(_level(up.at(math.log10(slo_ms))))
    parts += [_drawn(line, place, across.at, _log(up)) for place, line in enumerate(lines)]
    return drawing("timeline", _said("Latency over the time of the test", lines), Markup("").join(parts))


def rungs(judged: Sequence[Judged], p50s: Sequence[float], slo_ms: float) -> Markup:
    """p50 and p99 over the rate of requests, both logarithmic; vertical lines are the p99s' intervals."""
    p99s = [rung.p99.scaled(1000.0) for rung in judged]
    lines = [
        Line("p50", [(rung.rate, p50) for rung, p50 in zip(judged, p50s, strict=True)]),
        Line("p99", [(rung.rate, p99.value) for rung, p99 in zip(judged, p99s, strict=True)]),
    ]
    ends = [end for p99 in p99s for end in (p99.low, p99.high)]
    up = log_axis([*(y for line in lines for _, y in line.points), *ends, slo_ms], HEIGHT - BOTTOM, TOP)
    across = log_axis([rung.rate for rung in judged], LEFT, WIDTH - RIGHT)
    parts = [frame(across, up, ("requests a second", "milliseconds"), (log_tick_text, log_tick_text))]
    parts.append(_level(up.at(math.log10(slo_ms))))
    for rung, p99 in zip(judged, p99s, strict=True):
        if math.isfinite(p99.low):
            x = across.at(math.log10(rung.rate))
            high = up.at(math.log10(p99.high)) if math.isfinite(p99.high) else TOP
            parts.append(_whisker(x, up.at(math.log10(p99.low)), high))
    parts += [_drawn(line, place, _log(across), _log(up), dots=True) for place, line in enumerate(lines)]
    return drawing("rungs", _said("Latency over the rate of requests", lines), Markup("").join(parts))


def lengths(samples: Samples, buckets: Sequence[LengthBucket]) -> Markup:
    """Latency over the tokens of a text, both logarithmic: some requests, and the medians of ranges."""
    rows = np.flatnonzero(samples.ok & (samples.tokens > 0))
    rows = rows[:: max(1, math.ceil(len(rows) / DOTS))]
    tokens, latency = samples.tokens[rows], samples.latency[rows] * 1000.0
    places = [math.sqrt(max(1, each.first) * each.last) for each in buckets]
    quantiles = {"p50": [each.p50_ms for each in buckets], "p95": [each.p95_ms for each in buckets]}
    lines = [
        Line(name, [(x, y) for x, y in zip(places, values, strict=True) if y is not None])
        for name, values in quantiles.items()
    ]
    middles = [point for line in lines for point in line.points]
    across = log_axis([*tokens.tolist(), *(x for x, _ in middles)], LEFT, WIDTH - RIGHT)
    up = log_axis([*latency.tolist(), *(y for _, y in middles)], HEIGHT - BOTTOM, TOP)
    parts = [frame(across, up, ("tokens", "milliseconds"), (log_tick_text, log_tick_text))]
    parts.append(Markup('<g class="cloud">'))
    for x, y in zip(tokens.tolist(), latency.tolist(), strict=True):
        place = _log(across)(x), _log(up)(y)
        parts.append(Markup('<circle cx="{}" cy="{}" r="1.6"/>').format(*place))
    parts.append(Markup("</g>"))
    parts += [_drawn(line, place, _log(across), _log(up), dots=True) for place, line in enumerate(lines)]
    return drawing("lengths", _said("Latency over the length of a text", lines), Markup("").join(parts))


def series(times: np.ndarray, values: np.ndarray, title: str, unit: str) -> Markup:
    """One sampled figure over the time of the test."""
    step = max(1, math.ceil(len(times) / POINTS))
    line = Line(title, list(zip(times[::step].tolist(), values[::step].tolist(), strict=True)))
    across, up = x_axis(x for x, _ in line.points), y_axis((y for _, y in line.points), zero=True)
    inside = frame(across, up, ("seconds of the test", unit), (tick_text, tick_text))
    return drawing("series", _said(f"{title} over time", [line]), inside + _drawn(line, 0, across.at, up.at))


def _cumulative(latency: np.ndarray) -> list[tuple[float, float]]:
    """(milliseconds, share of all that took no longer), for samples spread over the shares, the tail's too."""
    count = len(latency)
    ascending = np.sort(latency[np.isfinite(latency)]) * 1000.0
    if not len(ascending):
        return []
    even = np.linspace(0, len(ascending) - 1, POINTS)
    tail = len(ascending) - 1 - np.geomspace(1, len(ascending), POINTS // 2) + 1
    places = np.unique(np.concatenate([even, tail]).astype(np.int64))
    # A logarithmic axis has no place for an answer in no time.
    return [(max(float(ascending[place]), 1e-3), (place + 1) / count) for place in places.tolist()]


def _windowed(times: np.ndarray, values: np.ndarray, edges: np.ndarray, q: float) -> list[tuple[float, float]]:
    places = np.searchsorted(edges, times, side="right") - 1
    found = []
    for place in range(len(edges) - 1):
        inside = values[places == place]
        if len(inside) >= FEWEST_IN_WINDOW:
            found.append((float(edges[place] + edges[place + 1]) / 2, quantile(inside, q)))
    return found


def _known(value: float | None) -> list[float]:
    return [] if value is None else [value]


def _log(axis: Axis) -> Callable[[float], float]:
    return lambda value: axis.at(math.log10(max(value, 1e-9)))


def _drawn(
    line: Line, place: int, across: Callable[[float], float], up: Callable[[float], float], *, dots: bool = False
) -> Markup:
    parts = [Markup('<g class="s{}">').format(place)]
    piece: list[tuple[float, float]] = []
    for x, y in [*line.points, (math.nan, math.nan)]:
        if math.isfinite(y):
            piece.append((across(x), up(y)))
            continue
        if len(piece) > 1:
            parts.append(Markup('<path class="line" d="{}"/>').format(path(piece)))
        elif piece:
            parts.append(Markup('<circle cx="{}" cy="{}" r="2.4"/>').format(*piece[0]))
        piece = []
    if dots:
        parts += [
            Markup('<circle cx="{}" cy="{}" r="3.2"><title>{}</title></circle>').format(
                across(x), up(y), f"{line.name} at {x:.4g}: {y:.4g} ms"
            )
            for x, y in line.points
            if math.isfinite(y)
        ]
    return Markup("").join([*parts, Markup("</g>")])


def _upright(x: float, name: str) -> Markup:
    """A vertical line and its name, on the side that has room."""
    left = x > (LEFT + WIDTH - RIGHT) * 0.6
    return Markup(
        '<g class="limit"><line x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
        '<text x="{3}" y="{4}" text-anchor="{5}">{6}</text></g>'
    ).format(x, TOP, HEIGHT - BOTTOM, x - 4 if left else x + 4, TOP + 10, "end" if left else "start", name)


def _level(y: float) -> Markup:
    return Markup(
        '<g class="limit"><line x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>'
        '<text x="{1}" y="{3}" text-anchor="end">SLO</text></g>'
    ).format(LEFT, WIDTH - RIGHT, y, y - 4)


def _whisker(x: float, low: float, high: float) -> Markup:
    return Markup('<line class="whisker s1" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(x, low, high)


def _said(title: str, lines: Sequence[Line]) -> str:
    ends = [f"{line.name} {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}" for line in lines if line.points]
    return f"{title}: {'; '.join(ends)}" if ends else title
