"""Which rows stay: one of each group of rows with the same normalised text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KEPT, EXACT, NEAR, OVERLAP, CONFLICT, LEAKED, EXCLUDED = range(7)
"""The fate of a row.

KEPT      the row stays
EXACT     it repeats a row that stays, letter by letter (up to outer white space)
NEAR      it repeats one up to case, white space or Unicode form
OVERLAP   a split that counts more has the same text with the same label
CONFLICT  the text has another label by majority, or in a split that counts more; or no label has a majority
LEAKED    a training row that is a near-duplicate of a row of a given validation or test file
EXCLUDED  the user has marked it, or a row with its text and label
"""


@dataclass(frozen=True)
class Resolution:
    """The fate of each row, and the groups of rows that contradict each other."""

    fates: np.ndarray
    """int8, shape (rows,)."""
    conflicts: tuple[np.ndarray, ...]
    """For each group with several labels the places of its rows, in order; the groups in order of their first row."""


def resolve_duplicates(near: np.ndarray, exact: np.ndarray, labels: np.ndarray, ranks: np.ndarray) -> Resolution:
    """Decide on each row; a group never straddles splits afterwards.

    `near` is (rows, 2) uint64, `exact` (rows,) uint64, `labels` (rows,) indices, `ranks` (rows,) the precedence of
    each row's split, 0 first. A group lives on in the first split that has it: there the majority label wins, a tie
    drops the group, and the first row with the label stays. So training rows never change the label of a test row.
    """
    order = np.lexsort((ranks, near[:, 1], near[:, 0]))
    near, exact, labels, ranks = near[order], exact[order], labels[order].astype(np.int64), ranks[order]
    starts = np.flatnonzero(np.r_[True, (near[1:] != near[:-1]).any(axis=1)]) if len(order) else np.zeros(0, np.int64)
    group = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(order)]))
    top = ranks == ranks[starts][group]

    winner, is_tie = _majority(group[top], labels[top], len(starts))
    wins = top & (labels == winner[group]) & ~is_tie[group]
    # The sort is stable: a group's rows are in source order within their split, and `unique` gives the first of each.
    first = np.full(len(starts), -1)
    winning, places = np.unique(group[wins], return_index=True)
    first[winning] = np.flatnonzero(wins)[places]

    fates = np.full(len(order), CONFLICT, dtype=np.int8)
    fates[wins] = np.where(exact[wins] == exact[first[group[wins]]], EXACT, NEAR)
    fates[~top & (labels == winner[group]) & ~is_tie[group]] = OVERLAP
    fates[first[first >= 0]] = KEPT

    in_order = np.empty_like(fates)
    in_order[order] = fates
    return Resolution(in_order, _conflicts(order, starts, labels))


def resolve_others(
    excluded: np.ndarray, near: np.ndarray, exact: np.ndarray, labels: np.ndarray, ranks: np.ndarray
) -> Resolution:
    """`resolve_duplicates` of the rows that are not `excluded` (bool, shape (rows,)); those have that fate."""
    rows = np.flatnonzero(~excluded)
    others = resolve_duplicates(near[rows], exact[rows], labels[rows], ranks[rows])
    fates = np.full(len(excluded), EXCLUDED, dtype=np.int8)
    fates[rows] = others.fates
    return Resolution(fates, tuple(rows[places] for places in others.conflicts))


def _majority(group: np.ndarray, labels: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """For each group its most frequent label, and whether another is as frequent."""
    width = int(labels.max(initial=0)) + 1
    pairs, counts = np.unique(group * width + labels, return_counts=True)
    pair_group, pair_label = pairs // width, pairs % width
    most = np.zeros(groups, dtype=np.int64)
    np.maximum.at(most, pair_group, counts)
    is_most = counts == most[pair_group]
    winner = np.zeros(groups, dtype=np.int64)
    winner[pair_group[is_most]] = pair_label[is_most]
    return winner, np.bincount(pair_group[is_most], minlength=groups) > 1


def _conflicts(order: np.ndarray, starts: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    if not len(starts):
        return ()
    differs = np.minimum.reduceat(labels, starts) != np.maximum.reduceat(labels, starts)
    ends = np.r_[starts[1:], len(order)]
    groups = [np.sort(order[start:end]) for start, end in zip(starts[differs], ends[differs], strict=True)]
    return tuple(sorted(groups, key=lambda places: int(places[0])))
