from __future__ import annotations

import numpy as np
import pytest

from ftx_plugins.metrics import classification

NAMES = ("a", "b", "c")
LABELS = np.array([0, 0, 1, 1])
LOGITS = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 3.0, 0.0], [0.0, 1.0, 0.5]])


def test_accuracy_and_micro_f1_are_the_share_of_rows_that_are_right():
    assert classification.accuracy(LABELS, LOGITS, NAMES) == 0.75
    assert classification.f1_micro(LABELS, LOGITS, NAMES) == 0.75


def test_macro_f1_is_the_mean_over_the_classes_that_occur():
    # a: precision 1, recall 1/2; b: precision 2/3, recall 1; c occurs in neither labels nor predictions.
    figures = classification.per_class(LABELS, LOGITS, NAMES)
    assert figures["a"]["f1"] == pytest.approx(2 / 3)
    assert figures["b"]["f1"] == pytest.approx(0.8)
    expected = [np.mean([2 / 3, 0.8]), np.mean([2 / 3, 0.8, 0.0])]
    assert any(classification.f1_macro(LABELS, LOGITS, NAMES) == pytest.approx(value) for value in expected)


def test_each_class_has_precision_recall_f1_and_support():
    figures = classification.per_class(LABELS, LOGITS, NAMES)
    assert set(figures) == set(NAMES)
    assert figures["a"] == pytest.approx({"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2})
    assert figures["c"]["support"] == 0
