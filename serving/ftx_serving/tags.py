"""What the outputs of a token classifier are called, and the entities that they spell. NumPy alone.

BIO (Ramshaw and Marcus 1995): `B-PER` begins an entity, `I-PER` goes on with it, `O` is outside of any. BILOU (Ratinov
and Roth 2009) also tells the last word, `L-PER`, and an entity of one word, `U-PER`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

OUTSIDE = "O"
IGNORED = -100
"""In the place of a tag where there is no word to judge; also what torch's cross-entropy leaves out."""
BIO = "BI"
BILOU = "BILU"
BEGINS = frozenset("BU")
"""Prefixes that open an entity whatever stands before."""
ENDS = frozenset("LU")
"""Prefixes behind which none goes on."""


def tags_of(types: Sequence[str], prefixes: str) -> tuple[str, ...]:
    """All tags of a scheme (`BIO` or `BILOU`) for these types of entities, the one for outside first."""
    return (OUTSIDE, *(f"{prefix}-{name}" for name in types for prefix in prefixes))


def split_tag(tag: str) -> tuple[str, str]:
    """Prefix and type of a tag; both empty for the one for outside. A tag without a prefix is a type that goes on."""
    if tag == OUTSIDE:
        return "", ""
    prefix, dash, name = tag.partition("-")
    return (prefix, name) if dash else ("I", tag)


def has_ends(tags: Iterable[str]) -> bool:
    """Whether tags tell where entities end: of the two schemes, those of `BILOU`."""
    return any(split_tag(tag)[0] in ENDS for tag in tags)


@dataclass(frozen=True)
class Spans:
    """The entities of several rows, in words: arrays that run along the entities, row by row and in order."""

    row: np.ndarray
    start: np.ndarray
    end: np.ndarray
    """Exclusive."""
    type: np.ndarray
    """A place in `TagSet.types`."""


@dataclass(frozen=True)
class TagSet:
    """The tags of a head, in the order of its outputs."""

    tags: tuple[str, ...]

    @cached_property
    def types(self) -> tuple[str, ...]:
        """Types of entities, in the order in which the tags name them."""
        return tuple(dict.fromkeys(name for _, name in map(split_tag, self.tags) if name))

    def codes(self, tags: np.ndarray) -> np.ndarray:
        """One number for each word in which alone the entities matter: 0 outside, 2t + 1 where one of type t begins,
        2t + 2 where it goes on. `tags` is int64 of shape (rows, words), places in `tags`, or negative for no word.

        What goes on without a beginning, or with another type than the word before, begins an entity, as in conlleval
        and seqeval: a model may say anything.
        """
        kind, begins, ends = (
            np.append(table, last) for table, last in zip(self._tables, (-1, False, True), strict=True)
        )
        places = np.where(tags < 0, len(self.tags), tags)
        kind, begins, ends = kind[places], begins[places], ends[places]
        first = np.ones_like(begins)
        first[:, 1:] = begins[:, 1:] | (kind[:, 1:] != kind[:, :-1]) | ends[:, :-1]
        return np.asarray(np.where(kind < 0, 0, 2 * kind + 1 + ~first), dtype=np.int64)

    def spans(self, codes: np.ndarray) -> Spans:
        """The entities in `codes`."""
        row, start = np.nonzero(codes % 2 == 1)
        return Spans(row, start, ends_of(codes)[row, start], codes[row, start] // 2)

    @cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each tag: its type (-1: none), whether it opens an entity, and whether it ends one."""
        pairs = [split_tag(tag) for tag in self.tags]
        kinds = [self.types.index(name) if name else -1 for _, name in pairs]
        return (
            np.array(kinds, dtype=np.int64),
            np.array([prefix in BEGINS for prefix, _ in pairs], dtype=bool),
            np.array([prefix in ENDS or not name for prefix, name in pairs], dtype=bool),
        )


def ends_of(codes: np.ndarray) -> np.ndarray:
    """For each word the place of the next one behind it that goes on with no entity, int64 of the same shape."""
    rows, words = codes.shape
    ends = np.full((rows, words + 1), words, dtype=np.int64)
    stops = (codes == 0) | (codes % 2 == 1)
    ends[:, :-1] = np.where(stops, np.arange(words), words)
    return np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1][:, 1:]
