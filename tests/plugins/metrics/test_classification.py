from __future__ import annotations

import numpy as np
import pytest

from ftx.plugins import PluginManager
from ftx.step import load_by_name

LABELS = np.array([0, 0, 1, 1, 2, 2, 2, 2])
PREDICTED = np.array([0, 1, 1, 1, 2, 2, 2, 0])
LOGITS = np.eye(3, dtype=np.float32)[PREDICTED] * 3
NAMES = ("a", "b", "c")


def compute(name: str, labels: np.ndarray = LABELS, logits: np.ndarray = LOGITS) -> object:
    metric = PluginManager.load(third_party=False).metrics("text-classification")[name]
    return load_by_name(metric.compute)(labels, logits, NAMES)


def test_figures_agree_with_counting_by_hand() -> None:
    assert compute("accuracy") == 6 / 8
    assert compute("f1_micro") == 6 / 8
    f1 = (2 * 1 / (2 * 1 + 1 + 1), 2 * 2 / (2 * 2 + 1), 2 * 3 / (2 * 3 + 1))
    assert compute("f1_macro") == pytest.approx(sum(f1) / 3)


def test_per_class_names_each_class_with_its_rows() -> None:
    figures = compute("per_class")
    assert isinstance(figures, dict)
    assert list(figures) == list(NAMES)
    assert figures["b"] == {"precision": 2 / 3, "recall": 1.0, "f1": pytest.approx(0.8), "support": 2}


def test_a_class_that_neither_occurs_nor_is_predicted_weighs_nothing() -> None:
    labels, logits = LABELS[:4], np.eye(3, dtype=np.float32)[[0, 0, 1, 1]]
    assert compute("f1_macro", labels, logits) == 1.0
    assert compute("per_class", labels, logits)["c"]["support"] == 0  # type: ignore[index]
