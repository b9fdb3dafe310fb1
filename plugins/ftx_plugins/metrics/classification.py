"""Metrics of single-label classification, by scikit-learn.

Each takes `labels`, int64 of shape (rows,), `logits`, float32 of shape (rows, classes), and `names`, the label names in
the order of the logits. A ratio without a denominator (a class that is never predicted) counts as 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support


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
