"""Whether a figure rises or falls over a long test: slopes with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftx_loadtests.measurement import Measurement
from ftx_loadtests.statistics import Estimate, quantile, student

WINDOWS = 20
FEWEST_POINTS = 6
_HOUR = 3600.0


@dataclass(frozen=True)
class Drift:
    """A straight line through a series."""

    slope: Estimate
    """Units per hour."""
    level: float
    """The mean, in units."""
    unit: str

    @property
    def direction(self) -> str:
        """`rising` or `falling` where the interval has one sign, else `level`."""
        return "rising" if self.slope.low > 0 else "falling" if self.slope.high < 0 else "level"

    def as_json(self) -> dict[str, Any]:
        return {
            "per_hour": self.slope.value,
            "interval": [self.slope.low, self.slope.high],
            "mean": self.level,
            "unit": self.unit,
            "direction": self.direction,
        }


def drifts(measurement: Measurement) -> dict[str, Drift]:
    """Of the latency's median and p95, and of the server's memory where it was sampled; not of what is too short."""
    samples, ok = measurement.samples, measurement.samples.ok
    scheduled, latency = samples.scheduled[ok], samples.latency[ok]
    found = {f"p{100 * q:g}": windowed(scheduled, latency * 1000.0, q) for q in (0.5, 0.95)}
    if measurement.resources is not None:
        for name, title in (("rss", "server_rss"), ("gpu_memory", "gpu_memory")):
            times, values = measurement.resources.series(name)
            found[title] = drift(times, values / 2**20, "MiB")
    return {name: line for name, line in found.items() if line is not None}


def windowed(times: np.ndarray, values: np.ndarray, q: float) -> Drift | None:
    """The drift of a quantile, from the quantiles of equally long windows: milliseconds per hour."""
    if not len(times):
        return None
    edges = np.linspace(times.min(), times.max(), WINDOWS + 1)
    places = np.clip(np.searchsorted(edges, times, side="right") - 1, 0, WINDOWS - 1)
    filled = np.unique(places)
    quantiles = np.array([quantile(values[places == place], q) for place in filled])
    return drift((edges[filled] + edges[filled + 1]) / 2, quantiles, "ms")


def drift(times: np.ndarray, values: np.ndarray, unit: str) -> Drift | None:
    """Least squares over `times` in seconds. None of fewer than six points, or of points at one time.

    Neighbouring residuals are alike, so that there are fewer independent points than points: as many as (1 - r)/(1 + r)
    of them, r being the residuals' correlation with the ones before (Santer and others, 2000).
    """
    count = len(times)
    if count < FEWEST_POINTS or np.ptp(times) == 0:
        return None
    hours = (times - times.mean()) / _HOUR
    squares = float(hours @ hours)
    slope = float(hours @ values) / squares
    residuals = values - values.mean() - slope * hours
    spread = float(residuals @ residuals)
    before = float(residuals[:-1] @ residuals[1:]) / spread if spread > 0 else 0.0
    # A rounded sum of squares may leave a correlation of 1, and no points at all.
    effective = max(3.0, count * (1 - max(0.0, before)) / (1 + max(0.0, before)))
    error = math.sqrt(spread / (effective - 2) / squares)
    half = student(max(1, math.floor(effective) - 2)) * error
    return Drift(Estimate(slope, slope - half, slope + half), float(values.mean()), unit)
