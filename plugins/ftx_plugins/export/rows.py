"""Real rows for parity checks and golden examples, spread over the lengths that the data has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx_plugins.data.splits import load_split, split_path

SPLITS = ("validation", "train")
"""Where rows are taken from; the test split is for the report alone."""
MOST_READ = 2000


@dataclass(frozen=True)
class Row:
    """A text, and the second one of a pair."""

    text: str
    pair: str | None = None


def read_rows(data: Artifact) -> list[Row]:
    """Up to 2,000 rows of the data set, evenly spaced over its validation split (its training split, if empty)."""
    for split in SPLITS:
        if split_path(data.path, split).is_file() and (rows := _spaced(load_split(data, split))):
            return rows
    raise FtxError(f"the data set in {data.path} has no rows", "look at its report: ftx show latest:data")


def spread_by_length(rows: Sequence[Row], lengths: Sequence[int], count: int) -> list[Row]:
    """`count` of `rows` (all, if there are fewer) from the shortest to the longest, evenly spaced in rank.

    `lengths` are their lengths in tokens.
    """
    order = np.argsort(np.asarray(lengths), kind="stable")
    places = np.unique(np.linspace(0, len(order) - 1, num=min(count, len(order))).round().astype(int))
    return [rows[order[place]] for place in places]


def texts_of(rows: Sequence[Row]) -> tuple[list[str], list[str] | None]:
    """The texts of `rows`, and the second texts, if these are pairs."""
    pairs = [row.pair for row in rows if row.pair is not None]
    return [row.text for row in rows], pairs or None


def _spaced(table: Any) -> list[Row]:
    """Up to `MOST_READ` rows of a split."""
    places = np.linspace(0, max(len(table) - 1, 0), num=min(MOST_READ, len(table))).round().astype(int)
    taken = table.select(np.unique(places))
    pairs = taken["text_pair"] if "text_pair" in taken.column_names else [None] * len(taken)
    return [Row(text, pair) for text, pair in zip(taken["text"], pairs, strict=True)]
