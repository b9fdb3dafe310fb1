"""The bootstrap: how far a figure would move on other rows of the same kind.

Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 and 14; for pairs of systems Koehn,
Statistical Significance Tests for Machine Translation Evaluation (2004). A figure that is made of sums over rows needs
no loop: the sums of all resamples are one matrix product of how often each row was drawn with what it adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

RESAMPLES = 1000
CONFIDENCE = 0.95
CELLS = 4_000_000
"""Resamples × rows that are held in memory at once."""

Interval = list[float] | None
"""The lower and the upper end; None where no resample has a value."""


@dataclass(frozen=True)
class Resampling:
    """Resamples of `rows` rows with replacement. The same ones at each use: differences of two models are paired."""

    rows: int
    seed: int
    resamples: int = RESAMPLES

    def sums(self, features: np.ndarray) -> np.ndarray:
        """For each resample the sum of its rows' `features`, of shape (rows, columns): (resamples, columns)."""
        features = np.ascontiguousarray(features, dtype=np.float32)
        chunks = self._kept if self.resamples * self.rows <= CELLS else self._draw()
        return np.concatenate([times @ features for times in chunks]).astype(np.float64)

    def means(self, values: np.ndarray) -> np.ndarray:
        """For each resample the mean of `values`, of shape (rows,)."""
        return np.asarray(self.sums(values[:, None])[:, 0] / self.rows)

    @cached_property
    def _kept(self) -> list[np.ndarray]:
        return list(self._draw())

    def _draw(self) -> Iterator[np.ndarray]:
        """How often each row is in each resample, float32 of shape (some of the resamples, rows)."""
        random = np.random.default_rng(self.seed)
        chunk = max(1, CELLS // self.rows)
        for start in range(0, self.resamples, chunk):
            count = min(chunk, self.resamples - start)
            drawn = random.integers(0, self.rows, size=(count, self.rows))
            drawn += np.arange(count)[:, None] * self.rows
            times = np.bincount(drawn.ravel(), minlength=count * self.rows)
            yield times.reshape(count, self.rows).astype(np.float32)


def interval(values: np.ndarray) -> Interval:
    """The percentile interval of a figure's values on the resamples; NaNs are left out."""
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    tail = (1 - CONFIDENCE) / 2
    return [float(end) for end in np.quantile(values, [tail, 1 - tail])]


def map_leaves(function: Callable[..., Any], *trees: Any) -> Any:
    """`function` of what stands at the same place in each of the nested mappings; what the first lacks is left out."""
    if isinstance(trees[0], Mapping):
        return {name: map_leaves(function, *(tree[name] for tree in trees)) for name in trees[0]}
    return function(*trees)
