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
    slices: Slices,
    right: np.ndarray,
    right_before: np.ndarray | None,
    flipped: np.ndarray | None,
    resampling: Resampling,
) -> list[dict[str, Any]]:
    """Of each slice that has rows: `slice`, `rows`, `accuracy` and its `interval`; the worst first.

    `right` says of each row whether it is (of several labels all have to be), `right_before` whether it was so for the
    reference, and `flipped` whether that predicts something else, all bool of shape (rows,). With a reference there are
    also `change` of the accuracy, its paired `change_interval`, and `flips`; the worst is then the largest loss.
    """
    members = {name: rows for name, rows in slices.items() if rows.any()}
    gained = np.zeros(len(right)) if right_before is None else right.astype(np.float64) - right_before
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
        if flipped is not None:
            entry |= {
                "change": float(gained[rows].mean()),
                "change_interval": interval(_share(change, size)),
                "flips": int((rows & flipped).sum()),
            }
        found.append(entry)
    return sorted(found, key=lambda entry: entry["accuracy" if right_before is None else "change"])


def _share(part: np.ndarray, size: np.ndarray) -> np.ndarray:
    """NaN where the slice is empty in a resample."""
    return np.asarray(np.divide(part, size, out=np.full(len(size), np.nan), where=size > 0))
