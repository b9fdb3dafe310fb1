"""Which row goes into which split."""

from __future__ import annotations

import numpy as np

from ftx.errors import FtxError
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.sampling import draw, draw_whole
from ftx_plugins.data.sources import SPLITS

TRAIN, VALIDATION, TEST = range(3)
NOWHERE = -1


def assign_splits(
    labels: np.ndarray,
    given: np.ndarray,
    identities: np.ndarray,
    config: DataConfig,
    seed: int,
    clusters: np.ndarray | None = None,
) -> np.ndarray:
    """The split of each row (a place in `SPLITS`, int8), stratified and seeded; -1 for rows beyond a cap.

    `given` (rows,) is the split that each row was given for. A split that has rows of its own stays as it is; one
    that has none is drawn from the training rows: test first, validation from the rest. Training rows of one cluster
    (`clusters`, a number for each row) stay together. Raises `FtxError` where that leaves a split without rows.
    """
    splits = given.astype(np.int8)
    clusters = np.arange(len(labels)) if clusters is None else clusters
    if not (splits == TEST).any():
        is_last = bool((splits == VALIDATION).any())
        _split_off(splits, TEST, config.test_size, 1 if is_last else 2, labels, identities, clusters, seed)
    if not (splits == VALIDATION).any():
        _split_off(splits, VALIDATION, config.validation_size, 1, labels, identities, clusters, seed + 1)
    for place, cap in enumerate((config.max_train_rows, config.max_validation_rows, config.max_test_rows)):
        _cap(splits, place, cap, labels, identities, seed + 2)
    return splits


def _split_off(
    splits: np.ndarray,
    into: int,
    share: float,
    leave: int,
    labels: np.ndarray,
    identities: np.ndarray,
    clusters: np.ndarray,
    seed: int,
) -> None:
    rows = np.flatnonzero(splits == TRAIN)
    count = rows_of_share(len(rows), share)
    chosen = draw_whole(labels[rows], count, identities[rows], clusters[rows], seed, leave=leave)
    if not len(chosen):
        largest = int(np.unique(clusters[rows], return_counts=True)[1].max())
        raise FtxError(
            f"no row is left for the {SPLITS[into]} split: all are near-duplicates of others, in clusters that stay "
            f"whole (the largest has {largest} of {len(rows)} rows)",
            'split by rows, and have it only reported: --set data.near_duplicates="report"',
            "or count only texts that are more alike: --set data.near_duplicate_similarity=0.95",
        )
    splits[rows[chosen]] = into


def rows_of_share(rows: int, share: float) -> int:
    """A share of rows, to the nearest row, halves up: Python's round() takes halves to even."""
    return int(rows * share + 0.5)


def _cap(splits: np.ndarray, place: int, cap: int, labels: np.ndarray, identities: np.ndarray, seed: int) -> None:
    rows = np.flatnonzero(splits == place)
    if not 0 < cap < len(rows):
        return
    classes = len(np.unique(labels[rows]))
    if cap < classes:
        setting = f"data.max_{SPLITS[place]}_rows"
        raise FtxError(
            f"{setting} = {cap}, and there are {classes} classes", f"raise {setting}, or set it to 0 for all"
        )
    splits[rows] = NOWHERE
    splits[rows[draw(labels[rows], cap, identities[rows], seed)]] = place
