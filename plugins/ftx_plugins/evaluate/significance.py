"""Whether one model is more often right than another, or the rows cannot tell.

Both looked at the same rows, so that only those count on which one is right and the other wrong (the discordant ones):
McNemar (1947), here exact, with the binomial distribution; the number of rows by Connor, Sample Size for Testing
Differences in Proportions for the Paired-Sample Design (1987).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm

from ftx_plugins.evaluate.bootstrap import CONFIDENCE, Resampling, interval

POWER = 0.8
"""With so much probability would the number of rows that is named tell a difference as large as the one seen."""


@dataclass(frozen=True)
class McNemar:
    """Rows that only one of two models has right, and the probability of so uneven a split if both were as good."""

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """The exact two-sided test; `first` and `second` say of each row whether that model is right, shape (rows,)."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    # Without a discordant row nothing speaks against their being alike.
    p_value = float(binomtest(only_second, discordant).pvalue) if discordant else 1.0
    return McNemar(only_first, only_second, p_value)


@dataclass(frozen=True)
class Comparison:
    """The second model against the first, by the rows that each has right."""

    difference: float
    """Accuracy of the second less that of the first."""
    interval: list[float]
    """Of the difference, by the paired bootstrap."""
    test: McNemar
    verdict: str
    """Of the second: `better`, `worse`, or `cannot tell`."""
    rows_needed: int | None
    """How many rows would tell, if the difference is as large as it seems here; None where it is told, or is 0."""
    detectable: float | None
    """The smallest difference that this many rows would tell; None where the two are right on the same rows."""


def compare_accuracy(first: np.ndarray, second: np.ndarray, resampling: Resampling) -> Comparison:
    """`first` and `second` say of each row whether that model is right, bool of shape (rows,).

    The verdict needs both: a p-value of McNemar's test below 0.05, and an interval of the difference without 0.
    """
    rows = len(first)
    test = mcnemar(first, second)
    difference = (test.only_second - test.only_first) / rows
    share = (test.only_first + test.only_second) / rows
    change = second.astype(np.float32) - first.astype(np.float32)
    ends = interval(resampling.means(change)) or [0.0, 0.0]
    told = test.p_value < 1 - CONFIDENCE and not ends[0] <= 0 <= ends[1]
    verdict = ("better" if difference > 0 else "worse") if told else "cannot tell"
    needed = None if told or not difference else max(rows + 1, rows_to_tell(share, difference))
    detectable = sum(_quantiles()) * math.sqrt(share / rows) if share else None
    return Comparison(difference, ends, test, verdict, needed, detectable)


def rows_to_tell(discordant: float, difference: float) -> int:
    """Rows with which McNemar's test finds the difference with probability `POWER`.

    `discordant` is the share of rows that only one of the two has right, `difference` that of their accuracies.
    """
    tail, power = _quantiles()
    spread = math.sqrt(max(0.0, discordant - difference**2))
    return math.ceil(((tail * math.sqrt(discordant) + power * spread) / difference) ** 2)


def _quantiles() -> tuple[float, float]:
    """Of the standard normal distribution: for the level of the test, and for its power."""
    return float(norm.ppf((1 + CONFIDENCE) / 2)), float(norm.ppf(POWER))
