"""What a few rounds of a measurement allow to be said: figures and ratios with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 400
_T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
_T_99 = (63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169, 3.106, 3.055, 3.012, 2.977, 2.947)
"""Two-sided quantiles of Student's t at 1, 2, … degrees of freedom; the last is kept for more, which is wider."""


@dataclass(frozen=True)
class Interval:
    """A figure, and the bounds that it lies between with the confidence asked for."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """The three, rounded to six digits: what is more was not measured."""
        return {name: float(f"{number:.6g}") for name, number in vars(self).items()}


def bootstrap(rounds: Sequence[np.ndarray], statistic: Callable[[np.ndarray], float], *, seed: int = 0) -> Interval:
    """`statistic` of all samples, with its 95% percentile-bootstrap interval; rounds are drawn, not samples.

    What disturbs the machine lasts for many samples, so that the samples of one round are not independent (Davison and
    Hinkley, Bootstrap Methods, 3.8: resampling by blocks). `rounds` holds an array of shape (samples,) for each round.
    """
    value = statistic(np.concatenate(list(rounds)))
    draw = np.random.default_rng(seed)
    picks = draw.integers(len(rounds), size=(RESAMPLES, len(rounds)))
    drawn = [statistic(np.concatenate([rounds[place] for place in pick])) for pick in picks]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(value, min(float(low), value), max(float(high), value))


def ratio(logs: Sequence[float], other: Sequence[float], *, sure: bool = False) -> Interval:
    """The geometric mean of the paired ratios e^(logs − other), with Student's interval at 95%, or 99% if `sure`.

    Both hold a logarithm for each round; those of the rounds that both have are compared. One round says nothing about
    its own spread: its interval is unbounded.
    """
    count = min(len(logs), len(other))
    difference = np.asarray(logs[:count], dtype=np.float64) - np.asarray(other[:count], dtype=np.float64)
    mean = float(difference.mean())
    if count < 2:
        return Interval(float(np.exp(mean)), 0.0, float("inf"))
    quantiles = _T_99 if sure else _T_95
    error = float(difference.std(ddof=1)) / count**0.5
    half = quantiles[min(count - 2, len(quantiles) - 1)] * error
    return Interval(float(np.exp(mean)), float(np.exp(mean - half)), float(np.exp(min(mean + half, 700.0))))
