"""What an evaluation's `logits.npz` tells beyond its metrics: the confusion matrix, and how far confidence is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftx.artifacts import Evaluation
from ftx.scoreboard import model_name
from ftx_serving.decoding import softmax

BINS = 10
KeptLogits = Mapping[str, np.ndarray]
"""Model -> logits, and `label` and `row`, of shape (rows,)."""


@dataclass(frozen=True)
class Bin:
    """Rows of like confidence: their mean confidence, and the share of them that is right."""

    confidence: float
    accuracy: float
    rows: int


def confusion(kept: KeptLogits, model: Mapping[str, Any]) -> list[list[int]] | None:
    """Rows by label (first index) and predicted label (second); None where the logits are not of single labels."""
    logits, labels = _logits(kept, model)
    if logits is None or labels is None:
        return None
    classes = logits.shape[1]
    counts = np.bincount(labels * classes + logits.argmax(axis=1), minlength=classes * classes)
    return [[int(count) for count in row] for row in counts.reshape(classes, classes)]


def reliability(kept: KeptLogits, model: Mapping[str, Any], *, temperature: float) -> list[Bin]:
    """Bins of equal mass (Nixon et al., Measuring Calibration in Deep Learning, 2019), by rising confidence."""
    logits, labels = _logits(kept, model)
    if logits is None or labels is None:
        return []
    probabilities = softmax(logits, temperature)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    members = np.array_split(np.argsort(confidence, kind="stable"), BINS)
    return [Bin(float(confidence[each].mean()), float(right[each].mean()), len(each)) for each in members if len(each)]


def read_logits(evaluation: Evaluation | None) -> KeptLogits:
    """The arrays of an evaluation's `logits.npz`; none where it is not there."""
    path = evaluation.path / "logits.npz" if evaluation else None
    if path is None or not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _logits(kept: KeptLogits, model: Mapping[str, Any]) -> tuple[Any, Any]:
    """Logits, float32 of shape (rows, classes), and labels, int64 of shape (rows,); None for what is not there."""
    logits, labels = kept.get(model_name(model)), kept.get("label")
    if logits is None or labels is None or logits.ndim != 2 or labels.ndim != 1 or logits.shape[1] < 2:
        return None, None
    return logits, labels
