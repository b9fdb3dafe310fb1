"""k-means in one dimension."""

from __future__ import annotations

from typing import Literal

import numpy as np


def kmeans(values: np.ndarray, clusters: int, start: Literal["linear", "quantile"], iterations: int) -> np.ndarray:
    """At most `clusters` centroids of `values` (any shape), float32, ascending.

    Lloyd's algorithm. In one dimension a cluster is a stretch of the sorted values, so its mean is a difference of
    running sums, and a round costs a binary search a centroid, however many values there are.
    """
    ordered = np.sort(values, axis=None).astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    if start == "linear":
        centroids = np.linspace(ordered[0], ordered[-1], clusters)
    else:
        centroids = np.quantile(ordered, (np.arange(clusters) + 0.5) / clusters)
    for _ in range(iterations):
        cuts = np.searchsorted(ordered, (centroids[1:] + centroids[:-1]) / 2)
        edges = np.concatenate([[0], cuts, [len(ordered)]])
        counts = np.diff(edges)
        # A cluster without members stays where it is.
        moved = np.where(counts > 0, np.diff(sums[edges]) / np.maximum(counts, 1), centroids)
        if np.array_equal(moved, centroids):
            break
        centroids = np.sort(moved)
    return np.unique(centroids.astype(np.float32))


def share(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """`values`, each replaced by the nearest of the ascending `centroids`; float32 of the same shape."""
    return centroids[np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)]
