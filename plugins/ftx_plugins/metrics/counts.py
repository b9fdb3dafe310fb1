"""What metrics of single-label classification need of a sample, and of its bootstrap resamples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassCounts:
    """Rows of each class, in each of several resamples: each array is of shape (resamples, classes)."""

    right: np.ndarray
    """Rows with that label which are predicted to have it: true positives."""
    predicted: np.ndarray
    """Rows that are predicted to have that label."""
    actual: np.ndarray
    """Rows with that label."""

    @property
    def rows(self) -> np.ndarray:
        """Rows of each resample, shape (resamples,)."""
        return np.asarray(self.actual.sum(axis=1))


def one_hot(places: np.ndarray, classes: int) -> np.ndarray:
    """float32 of shape (rows, classes): 1 at each row's place."""
    return np.asarray(places[:, None] == np.arange(classes), dtype=np.float32)
