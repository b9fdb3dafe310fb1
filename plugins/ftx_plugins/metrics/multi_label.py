"""Metrics of multi-label classification.

Each takes `labels`, int64 of shape (rows, labels), 1 for each label that a row has, `logits`, of the same shape, 0 or
more for each label that is predicted, and `names`. Those that are made of counts are computed from them, as for the
resamples of a bootstrap (`classification`); a test holds them against scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftx_plugins.metrics import classification
from ftx_plugins.metrics.counts import ClassCounts, hot_features


def subset_accuracy(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    """The share of rows whose labels are all predicted, and no other."""
    return float(((logits >= 0) == labels).all(axis=1).mean())


def f1_macro(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    """The mean of the F1 of each label that occurs, or is predicted."""
    return float(classification.f1_macro_from_counts(_counts(labels, logits), names)[0])


def f1_micro(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    """F1 from the true positives, false positives and false negatives of all labels together."""
    return float(classification.f1_micro_from_counts(_counts(labels, logits), names)[0])


def per_class(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Label name -> `precision`, `recall`, `f1`, and `support`, the number of rows with that label."""
    figures = classification.per_class_from_counts(_counts(labels, logits), names)
    return {
        name: {**{figure: float(value[0]) for figure, value in found.items()}, "support": int(labels[:, place].sum())}
        for place, (name, found) in enumerate(figures.items())
    }


def _counts(labels: np.ndarray, logits: np.ndarray) -> ClassCounts:
    return ClassCounts.of(hot_features(labels, logits >= 0).sum(axis=0, dtype=np.float64)[None])
