"""The probability from which on each label of a multi-label model is predicted."""

from __future__ import annotations

import numpy as np

from ftx_serving.decoding import THRESHOLD, sigmoid

FEWEST = 5
"""Rows with a label, and rows without, below which its threshold stays at one half: it would be noise."""
LOWEST, HIGHEST = 0.01, 0.99


def choose_thresholds(labels: np.ndarray, logits: np.ndarray) -> tuple[float, ...]:
    """For each label the threshold with the best F1 on these rows; of equally good ones that nearest to one half.

    `labels` are int64 of shape (rows, labels), 1 or 0, `logits` of the same shape. F1 label by label is what macro F1
    is the mean of (Lipton et al. 2014, "Optimal Thresholding of Classifiers to Maximize F1 Measure").
    """
    probabilities = sigmoid(logits)
    return tuple(_best(labels[:, place], probabilities[:, place]) for place in range(labels.shape[1]))


def _best(has: np.ndarray, probability: np.ndarray) -> float:
    rows, positive = len(has), int(has.sum())
    if min(positive, rows - positive) < FEWEST:
        return THRESHOLD
    order = np.argsort(-probability, kind="stable")
    descending = probability[order]
    right = np.cumsum(has[order])
    f1 = 2 * right / (np.arange(1, rows + 1) + positive)
    # A cut lies halfway between two neighbours; rows of one probability cannot be parted.
    cuts = (descending[:-1] + descending[1:]) / 2
    possible = np.flatnonzero((descending[:-1] > descending[1:]) & (cuts >= LOWEST) & (cuts <= HIGHEST))
    at_half = int((descending >= THRESHOLD).sum())
    reached = f1[at_half - 1] if at_half else 0.0
    if not len(possible) or f1[possible].max() <= reached:
        return THRESHOLD
    best = possible[np.isclose(f1[possible], f1[possible].max(), rtol=0, atol=1e-12)]
    cut = cuts[best[np.abs(cuts[best] - THRESHOLD).argmin()]]
    return float(f"{cut:.4g}")
