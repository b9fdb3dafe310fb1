"""Where a model is worse than the reference: class by class, and by the length of the text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ftx_plugins.evaluate.bootstrap import Resampling, interval

Slices = Mapping[str, np.ndarray]
"""Name -> which rows belong to it, bool of shape (rows,)."""


def length_slices(lengths: np.ndarray) -> Slices:
    """Quartiles of the rows by length in tokens, named by the lengths they hold, such as `3-8`.

    Rows of one length are never parted, so that there may be fewer than four, and of unequal size.
    """
    edges = np.unique(np.quantile(lengths, [0.25, 0.5, 0.75], method="inverted_cdf"))
    quartile = np.searchsorted(edges, lengths)
    members = [quartile == place for place in np.unique(quartile)]
    return {f"{lengths[rows].min()}-{lengths[rows].max()}": rows for rows in members}


def by_slice(
    slices: Slices, labels: np.ndarray, predicted: np.ndarray, reference: np.ndarray | None, resampling: Resampling
) -> list[dict[str, Any]]:
    """Of each slice that has rows: `slice`, `rows`, `accuracy` and its `interval`; the worst first.

    Of several labels a row all have to be right. Against the reference's predictions also `change` of the accuracy, its
    paired `change_interval`, and `flips`; the worst is then the largest loss.
    """
    members = {name: rows for name, rows in slices.items() if rows.any()}
    right = _same(predicted, labels)
    gained = np.zeros(len(labels)) if reference is None else right.astype(np.float64) - _same(reference, labels)
    inside = np.stack(list(members.values()), axis=1)
    sums = resampling.sums(np.concatenate([inside, inside * right[:, None], inside * gained[:, None]], axis=1))
    found = []
    for (name, rows), size, correct, change in zip(members.items(), *np.split(sums.T, 3), strict=True):
        entry = {
            "slice": name,
            "rows": int(rows.sum()),
            "accuracy": float(right[rows].mean()),
            "interval": interval(_share(correct, size)),
        }
        if reference is not None:
            entry |= {
                "change": float(gained[rows].mean()),
                "change_interval": interval(_share(change, size)),
                "flips": int((rows & ~_same(predicted, reference)).sum()),
            }
        found.append(entry)
    return sorted(found, key=lambda entry: entry["accuracy" if reference is None else "change"])


def _same(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Row by row, bool of shape (rows,)."""
    same = np.asarray(first == second, dtype=bool)
    return same if same.ndim == 1 else np.asarray(same.all(axis=1))


def _share(part: np.ndarray, size: np.ndarray) -> np.ndarray:
    """NaN where the slice is empty in a resample."""
    return np.asarray(np.divide(part, size, out=np.full(len(size), np.nan), where=size > 0))
