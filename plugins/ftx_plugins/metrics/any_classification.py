"""Metrics that mean the same in several tasks: the functions of the task whose labels are given."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from ftx_plugins.metrics import classification, entities, multi_label
from ftx_plugins.metrics.counts import ClassCounts


def f1_macro(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    return float(_of(labels).f1_macro(labels, logits, names))


def f1_micro(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    return float(_of(labels).f1_micro(labels, logits, names))


def per_class(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, float]]:
    task = entities if logits.ndim == 3 else _of(labels)
    found: dict[str, dict[str, float]] = task.per_class(labels, logits, names)
    return found


def per_class_from_counts(counts: ClassCounts, names: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """Of tokens `names` are the tags, which are more than the types of entities that are counted."""
    if counts.actual.shape[1] < len(names):
        return entities.per_class_from_counts(counts, names)
    return classification.per_class_from_counts(counts, names)


def _of(labels: np.ndarray) -> ModuleType:
    return multi_label if labels.ndim == 2 else classification
