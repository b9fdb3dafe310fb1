"""Metrics of single-label classification, by scikit-learn.

Each takes `labels`, int64 of shape (rows,), `logits`, float32 of shape (rows, classes), and `names`, the label names in
the order of the logits. A ratio without a denominator (a class that is never predicted) counts as 0.

Those that end in `_from_counts` give the same for many resamples at once: arrays of shape (resamples,).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from ftx_plugins.metrics.counts import ClassCounts


def accuracy(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    """The share of rows whose highest logit is their label's."""
    return float(accuracy_score(labels, logits.argmax(axis=-1)))


def f1_macro(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    """The mean of the F1 of each class that occurs among the labels or the predictions."""
    return float(f1_score(labels, logits.argmax(axis=-1), average="macro", zero_division=0))


def f1_micro(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    """F1 from the true positives, false positives and false negatives of all classes together."""
    return float(f1_score(labels, logits.argmax(axis=-1), average="micro", zero_division=0))


def per_class(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Label name -> `precision`, `recall`, `f1`, and `support`, the number of rows with that label."""
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, logits.argmax(axis=-1), labels=range(len(names)), zero_division=0
    )
    return {
        name: {
            "precision": float(precision[index]),
            "recall": float(recall[index]),
            "f1": float(f1[index]),
            "support": int(support[index]),
        }
        for index, name in enumerate(names)
    }


def accuracy_from_counts(counts: ClassCounts, names: Sequence[str]) -> np.ndarray:
    """With one label a row."""
    return _ratio(counts.right.sum(axis=1), counts.rows)


def f1_micro_from_counts(counts: ClassCounts, names: Sequence[str]) -> np.ndarray:
    return _ratio(2 * counts.right.sum(axis=1), (counts.actual + counts.predicted).sum(axis=1))


def f1_macro_from_counts(counts: ClassCounts, names: Sequence[str]) -> np.ndarray:
    involved = counts.actual + counts.predicted
    return _ratio(_ratio(2 * counts.right, involved).sum(axis=1), (involved > 0).sum(axis=1))


def per_class_from_counts(counts: ClassCounts, names: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """Label name -> `precision`, `recall` and `f1`."""
    precision = _ratio(counts.right, counts.predicted)
    recall = _ratio(counts.right, counts.actual)
    f1 = _ratio(2 * counts.right, counts.actual + counts.predicted)
    return {
        name: {"precision": precision[:, place], "recall": recall[:, place], "f1": f1[:, place]}
        for place, name in enumerate(names)
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, and 0 where there is nothing to divide by."""
    out = np.zeros(np.shape(part), dtype=np.float64)
    return np.asarray(np.divide(part, whole, out=out, where=whole > 0))
