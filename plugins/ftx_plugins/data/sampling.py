"""Stratified, seeded choices that are the same on every machine.

Rows are ranked by a hash of their identity and the seed rather than by a random generator: NumPy may change the stream
of its generators between versions (NEP 19), and a rank by text does not move when other rows come or go.
"""

from __future__ import annotations

import numpy as np


def draw(labels: np.ndarray, count: int, identities: np.ndarray, seed: int, *, leave: int = 0) -> np.ndarray:
    """The places of `count` rows, in order; each class in proportion.

    `labels` is (rows,) of class indices, `identities` (rows,) uint64, a different number for each row. Each class
    gives one row at least and leaves `leave` at least; only for that may `count` be missed.
    """
    sizes = np.bincount(labels)
    taken = quotas(sizes, min(count, len(labels)), leave)
    order = np.lexsort((ranks(identities, seed), labels))
    starts = np.cumsum(sizes) - sizes
    place_in_class = np.arange(len(labels)) - starts[labels[order]]
    chosen: np.ndarray = order[place_in_class < taken[labels[order]]]
    chosen.sort()
    return chosen


def quotas(sizes: np.ndarray, total: int, leave: int = 0) -> np.ndarray:
    """How many of `total` rows each class gives: by largest remainders, ties to the earlier class.

    Integers only, so that no rounding differs between machines.
    """
    sizes = sizes.astype(np.int64)
    rows = max(int(sizes.sum()), 1)
    result, remainders = sizes * total // rows, sizes * total % rows
    missing = total - int(result.sum())
    result[np.argsort(-remainders, kind="stable")[:missing]] += 1
    result = np.where(sizes > 0, np.maximum(result, 1), 0)
    while result.sum() > total and result.max() > 1:
        result[np.argmax(result)] -= 1
    bounded: np.ndarray = np.minimum(result, np.maximum(sizes - leave, 0))
    return bounded


def ranks(identities: np.ndarray, seed: int) -> np.ndarray:
    """A uint64 for each identity, as good as random: SplitMix64 (Steele, Lea, Flood 2014), started at the seed."""
    start = _mix(np.array([seed & (2**64 - 1)], dtype=np.uint64))
    return _mix(identities ^ start)


def _mix(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        mixed = values + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
