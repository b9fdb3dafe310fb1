"""The expected calibration error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BINS = 15


def expected_calibration_error(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    """|accuracy - confidence| over 15 bins of equal width, each weighted by its rows (Guo et al. 2017, equation 5).

    `labels` is int64 of shape (rows,), `logits` of shape (rows, classes); the result is between 0 and 1.
    """
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    confidence = exponents.max(axis=1) / exponents.sum(axis=1)
    right = logits.argmax(axis=1) == labels
    # The first bin takes in 0, the last one 1.
    places = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(places, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))
