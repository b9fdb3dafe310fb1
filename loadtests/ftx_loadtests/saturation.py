"""The search for capacity: the highest rate of requests at which the p99 is within the SLO.

Doubling until a rung is beyond the SLO, then bisection (of the logarithm) until the bracket is narrow. A rung is judged
by the interval of its p99; where the SLO lies in it, the rung is measured again and its samples are pooled, a few times
at most, and then its p99 itself decides. Both ends of the last bracket are measured twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ftx_loadtests.statistics import Estimate, estimate_quantiles, fewest_samples

START = 8.0
"""Requests per second of the first rung, unless another is given."""
RESOLUTION = 0.05
REPEATS = 3
CONFIRMED = 2
"""So often at least both ends of the last bracket are measured."""
MOST_RUNGS = 30
LOWEST, HIGHEST = 0.25, 1e6
"""Rates between which is searched."""
TAIL = 0.99

Standing = Literal["within", "beyond", "unclear"]


@dataclass(frozen=True, eq=False)
class Rung:
    """One measurement at one rate."""

    rate: float
    latencies: NDArray[np.float64]
    """Seconds from the scheduled start, in its order; infinite where a request failed."""


@dataclass(frozen=True)
class Judged:
    """All measurements at one rate, pooled."""

    rate: float
    times: int
    samples: int
    p99: Estimate
    """Seconds; of fewer samples than a p99 is told from, what they show, which may only say that it is beyond."""
    standing: Standing
    """By the interval."""
    within: bool
    """What the search goes on from: the interval's word, or the p99's own where that is unclear."""

    def as_json(self) -> dict[str, Any]:
        p99 = self.p99.scaled(1000.0)
        return {
            "rate": self.rate,
            "times": self.times,
            "samples": self.samples,
            "p99_ms": p99.value,
            "interval": [p99.low, p99.high],
            "standing": self.standing,
        }


@dataclass(frozen=True)
class Capacity:
    """The highest rate within the SLO, and the rates that it surely lies between.

    `low` is the highest rate whose p99 is surely within the SLO, 0 where there is none; `high` the lowest that is
    surely beyond, infinite where there is none. `rate` is None where no rung was within.
    """

    rate: float | None
    low: float
    high: float
    rungs: tuple[Judged, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "rate": self.rate,
            "interval": [self.low, self.high],
            "rungs": [rung.as_json() for rung in self.rungs],
        }


def next_rate(
    history: Sequence[Rung],
    slo: float,
    *,
    start: float = START,
    resolution: float = RESOLUTION,
    repeats: int = REPEATS,
    most: int = MOST_RUNGS,
    highest: float = HIGHEST,
    seed: int = 0,
) -> float | None:
    """The rate to measure next, in requests per second; None where the search is over.

    `history` has every rung so far, `slo` is in seconds. The search ends where the bracket is within a factor of
    1 + `resolution`, at `highest` or at the lowest rate that is of use, and after `most` measurements.
    """
    if not history:
        return min(start, highest)
    if len(history) >= most:
        return None
    rungs = judge_rungs(history, slo, seed=seed)
    good, bad = _bracket(rungs)
    for rung in rungs:
        bounds = rung in (good, bad)
        if bounds and rung.standing == "unclear" and rung.times < repeats:
            return rung.rate
    if bad is None:
        assert good is not None  # every rung is one or the other
        return min(2 * good.rate, highest) if good.rate < highest else None
    if good is None:
        return bad.rate / 2 if bad.rate / 2 >= LOWEST else None
    if bad.rate <= good.rate * (1 + resolution):
        # Bursts that decide a p99 are rare, so that one quiet measurement looks surer than it is.
        return next((rung.rate for rung in (good, bad) if rung.times < CONFIRMED), None)
    return math.sqrt(good.rate * bad.rate)


def capacity(history: Sequence[Rung], slo: float, *, seed: int = 0) -> Capacity:
    """What the search has found; `slo` in seconds."""
    rungs = judge_rungs(history, slo, seed=seed)
    good, _ = _bracket(rungs)
    ceiling = min((rung.rate for rung in rungs if rung.standing == "beyond"), default=math.inf)
    floor = max((rung.rate for rung in rungs if rung.standing == "within" and rung.rate < ceiling), default=0.0)
    rate = None if good is None else good.rate
    return Capacity(rate, min(floor, rate or floor), max(ceiling, rate or ceiling), tuple(rungs))


def rung_seconds(rate: float, least: float) -> float:
    """How long a rung must last, at `rate` and at least `least` seconds, for a p99 to be told from it.

    A fifth longer than the samples need, since random arrivals may be fewer than expected.
    """
    return max(least, 1.2 * fewest_samples(TAIL) / rate)


def judge_rungs(history: Sequence[Rung], slo: float, *, seed: int = 0) -> list[Judged]:
    """One for each rate, in ascending order."""
    by_rate: dict[float, list[Rung]] = {}
    for rung in history:
        by_rate.setdefault(rung.rate, []).append(rung)
    return [_judge(tuple(by_rate[rate]), slo, seed) for rate in sorted(by_rate)]


def judge_p99(p99: Estimate, samples: int, slo: float) -> Standing:
    """Where the SLO lies to the interval of a p99, both in seconds. Too few samples may only show that it is missed."""
    if p99.low > slo:
        return "beyond"
    return "within" if p99.high <= slo and samples >= fewest_samples(TAIL) else "unclear"


@lru_cache(maxsize=2 * MOST_RUNGS)
def _judge(measured: tuple[Rung, ...], slo: float, seed: int) -> Judged:
    """Kept, for a search asks about all its rungs after each of them."""
    latencies = np.concatenate([rung.latencies for rung in measured])
    found = estimate_quantiles(latencies, (TAIL,), seed=seed, few=True)[TAIL]
    # Nothing was answered, nor asked: such a rung is beyond what can be driven.
    p99 = found or Estimate(math.inf, math.inf, math.inf)
    standing = judge_p99(p99, len(latencies), slo)
    within = p99.value <= slo if standing == "unclear" else standing == "within"
    return Judged(measured[0].rate, len(measured), len(latencies), p99, standing, within)


def _bracket(rungs: Sequence[Judged]) -> tuple[Judged | None, Judged | None]:
    """The lowest rung beyond the SLO, and the highest within it below that: (within, beyond)."""
    bad = next((rung for rung in rungs if not rung.within), None)
    good = [rung for rung in rungs if rung.within and (bad is None or rung.rate < bad.rate)]
    return (good[-1] if good else None), bad


def as_rungs(rates: Mapping[int, float], blocks: NDArray[np.int32], latencies: NDArray[np.float64]) -> list[Rung]:
    """Rungs from samples: `rates` by block number, and each row's block and latency in seconds."""
    return [Rung(rate, latencies[blocks == block]) for block, rate in sorted(rates.items())]
