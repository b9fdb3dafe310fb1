"""What metrics of classification need of a sample, and of its bootstrap resamples."""

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

    @classmethod
    def of(cls, sums: np.ndarray) -> ClassCounts:
        """From sums of `count_features` over rows, shape (resamples, 3 · classes)."""
        return cls(*np.split(sums, 3, axis=1))

    @property
    def rows(self) -> np.ndarray:
        """Rows of each resample, shape (resamples,)."""
        return np.asarray(self.actual.sum(axis=1))


def count_features(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """What each row adds to the counts of `ClassCounts`, float32 of shape (rows, 3 · classes)."""
    actual, chosen = one_hot(labels, classes), one_hot(predicted, classes)
    return np.concatenate([actual * chosen, chosen, actual], axis=1)


def hot_features(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The same where a row has any number of labels: both arguments are 1 or 0, of shape (rows, classes)."""
    actual, chosen = labels.astype(np.float32), predicted.astype(np.float32)
    return np.concatenate([actual * chosen, chosen, actual], axis=1)


def one_hot(places: np.ndarray, classes: int) -> np.ndarray:
    """float32 of shape (rows, classes): 1 at each row's place."""
    return np.asarray(places[:, None] == np.arange(classes), dtype=np.float32)
