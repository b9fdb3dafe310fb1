"""Metrics of regression, by NumPy and SciPy.

Each takes `labels`, float64 of shape (rows,), `logits`, float32 of shape (rows, 1), both in units of the target, and
`names`. A correlation is 0 where one side does not vary: nothing then goes with anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata


def rmse(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    """The root of the mean squared error."""
    return float(np.sqrt(((logits[:, 0] - labels) ** 2).mean()))


def mae(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    """The mean absolute error."""
    return float(np.abs(logits[:, 0] - labels).mean())


def pearson(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    """Pearson's correlation of predictions and targets."""
    return _correlation(labels, logits[:, 0])


def spearman(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    """Spearman's correlation: that of the ranks; equal values share the mean of theirs."""
    return _correlation(rankdata(labels), rankdata(logits[:, 0]))


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first - first.mean(), second.astype(np.float64) - second.mean(dtype=np.float64)
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum() / size) if size > 0 else 0.0
