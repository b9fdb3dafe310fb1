"""Folds of the training rows, for cross-validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftx.errors import FtxError
from ftx_plugins.data.sampling import ranks

NO_FOLD = -1


def assign_folds(
    labels: np.ndarray,
    identities: np.ndarray,
    count: int,
    names: Sequence[str],
    seed: int,
    clusters: np.ndarray | None = None,
) -> np.ndarray:
    """The fold of each row (int64, shape (rows,), from 0 to `count` - 1), stratified and seeded.

    Rows are dealt out in turn, class after class, so that neither folds nor the rows of a class in them differ by more
    than one. Rows of one cluster (`clusters`, a number for each row) all go where its first one goes, which may add to
    that. `identities` is (rows,) uint64. Raises `FtxError` where a class has too few rows for one in each fold.
    """
    rows = np.bincount(labels, minlength=len(names))
    rare = {name: int(there) for name, there in zip(names, rows, strict=True) if 0 < there < count}
    if rare:
        name, there = min(rare.items(), key=lambda item: item[1])
        more = f" (and {len(rare) - 1} more classes have fewer than {count})" if len(rare) > 1 else ""
        raise FtxError(
            f"data.folds = {count}, but {name!r} has {there} training row{'s' if there != 1 else ''}{more}",
            f"add rows of it, or take fewer folds: --set data.folds={there}"
            if there > 1
            else "add rows of it, or leave data.folds out",
        )
    folds = np.empty(len(labels), dtype=np.int64)
    ranked = ranks(identities, seed)
    folds[np.lexsort((ranked, labels))] = np.arange(len(labels)) % count
    if clusters is None:
        return folds
    order = np.lexsort((ranked, clusters))
    _, firsts, cluster_of = np.unique(clusters[order], return_index=True, return_inverse=True)
    folds[order] = folds[order[firsts]][cluster_of]
    return folds
