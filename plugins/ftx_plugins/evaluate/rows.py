"""The rows that an evaluation looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ftx import Artifact, FtxError
from ftx_plugins.data.splits import load_rows
from ftx_plugins.tasks.alignment import aligner_of
from ftx_serving.words import Words, widen


@dataclass(frozen=True)
class Rows:
    """The rows that are looked at, in a seeded random order: the first ones are a fair sample."""

    split: str
    names: tuple[str, ...]
    """Label names, in the data set's order."""
    texts: Sequence[str]
    pairs: Sequence[str] | None
    labels: np.ndarray
    """As `SplitRows.labels`; of entities words' tags, once they are `aligned`."""
    row: np.ndarray
    """Each row's place in its source."""
    words: Sequence[Words] = ()
    """Of each text, where labels are words' tags."""

    def aligned(self, words: Sequence[Words]) -> Rows:
        """The same with entities as words' tags, int64 of shape (rows, words), in the order of `names`."""
        return replace(self, words=words, labels=aligner_of(self.names, self.names).rows(self.labels.tolist(), words))

    def fitted(self, logits: np.ndarray) -> np.ndarray:
        """Logits of words, as wide as the longest text has words, whatever a model has cut off."""
        return widen(logits, self.labels.shape[1]) if self.words else logits

    def first(self, count: int) -> tuple[Sequence[str], Sequence[str] | None]:
        """The first `count` texts, and their second texts, if these are pairs."""
        return self.texts[:count], self.pairs[:count] if self.pairs is not None else None


def read_rows(split: str, data: Artifact, max_rows: int, seed: int) -> Rows:
    """Up to `max_rows` rows of the split, a stratified sample (0: all). Raises `FtxError` where there are none."""
    found = load_rows(data, split, max_rows=max_rows or None, seed=seed)
    if not found.texts:
        raise FtxError(f"the {split} split is empty", f"give rows for it: data.{split}, or data.{split}_size")
    # A split is in the order of its source, which may be sorted: the timed rows are drawn from all of it.
    order = np.random.default_rng(seed).permutation(len(found.texts))
    return Rows(
        split,
        tuple(data.meta["labels"]),
        [found.texts[place] for place in order],
        [found.pairs[place] for place in order] if found.pairs is not None else None,
        found.labels[order],
        found.rows[order],
    )
