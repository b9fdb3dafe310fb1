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
    taken = quotas(np.bincount(labels), min(count, len(labels)), leave)
    return _lowest(labels, taken, ranks(identities, seed))


def draw_whole(
    labels: np.ndarray, count: int, identities: np.ndarray, clusters: np.ndarray, seed: int, *, leave: int = 0
) -> np.ndarray:
    """As `draw`, but the rows of a cluster are all drawn, or none is: the same choice where no cluster has two rows.

    `clusters` is (rows,): equal numbers for the rows of one cluster. Clusters are drawn first, each with the
    probability of a row and only where all its labels are still wanted; single rows then fill up each class. Where
    those are too few, more clusters are drawn, as far as they fit: else `count` is missed.
    """
    wanted = quotas(np.bincount(labels), min(count, len(labels)), leave)
    ranked = ranks(identities, seed)
    _, cluster_of, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    is_single = sizes[cluster_of] == 1
    available = np.bincount(labels[is_single], minlength=len(wanted))
    share = np.uint64(min(count / max(len(labels), 1), 1.0) * (2.0**64 - 2048))
    chosen: list[np.ndarray] = []
    several = _by_lowest_rank(np.flatnonzero(~is_single), cluster_of, identities, seed)
    for rank, places in several:
        needed = np.bincount(labels[places], minlength=len(wanted))
        room = wanted if rank < share else np.maximum(wanted - available, 0)
        if (needed <= room).all():
            wanted = wanted - needed
            chosen.append(places)
    singles = np.flatnonzero(is_single)
    chosen.append(singles[_lowest(labels[singles], wanted, ranked[singles])])
    drawn: np.ndarray = np.sort(np.concatenate(chosen))
    return drawn


def _lowest(labels: np.ndarray, taken: np.ndarray, ranked: np.ndarray) -> np.ndarray:
    """The places of the `taken` rows of each class that have the lowest ranks, in order."""
    sizes = np.bincount(labels, minlength=len(taken))
    order = np.lexsort((ranked, labels))
    starts = np.cumsum(sizes) - sizes
    place_in_class = np.arange(len(labels)) - starts[labels[order]]
    chosen: np.ndarray = order[place_in_class < taken[labels[order]]]
    chosen.sort()
    return chosen


def _by_lowest_rank(
    rows: np.ndarray, cluster_of: np.ndarray, identities: np.ndarray, seed: int
) -> list[tuple[np.uint64, np.ndarray]]:
    """The places of each cluster's rows, and the rank of its lowest identity: that does not depend on their order."""
    order = rows[np.lexsort((identities[rows], cluster_of[rows]))]
    starts = np.flatnonzero(np.r_[True, np.diff(cluster_of[order]) != 0]) if len(order) else np.zeros(0, np.int64)
    ranked = ranks(identities[order[starts]], seed) if len(order) else np.zeros(0, np.uint64)
    clusters = list(zip(ranked, np.split(order, starts[1:]), strict=True)) if len(order) else []
    return sorted(clusters, key=lambda each: int(each[0]))


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
    start = mix(np.array([seed & (2**64 - 1)], dtype=np.uint64))
    return mix(identities ^ start)


def mix(values: np.ndarray) -> np.ndarray:
    """Each uint64 as another one, as good as random, and the same for equal ones: the finalizer of SplitMix64."""
    with np.errstate(over="ignore"):
        mixed = values + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
