"""Metrics that mean the same in several tasks: the functions of the task whose labels are given."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from ftx_plugins.metrics import classification, multi_label


def f1_macro(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    return float(_of(labels).f1_macro(labels, logits, names))


def f1_micro(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    return float(_of(labels).f1_micro(labels, logits, names))


def per_class(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = _of(labels).per_class(labels, logits, names)
    return found


def _of(labels: np.ndarray) -> ModuleType:
    return multi_label if labels.ndim == 2 else classification
