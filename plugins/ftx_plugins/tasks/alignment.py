"""From spans of characters to a tag for each word, and from words to tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ftx_serving.tags import IGNORED, OUTSIDE, TagSet, has_ends
from ftx_serving.words import Words

Entities = Sequence[tuple[int, int, int]]
"""Start and end in characters, and the type (a place in `TagSet.types`)."""


@dataclass(frozen=True)
class Aligner:
    """Gives words the tags of a head. `tags` are the head's, `types` the data's types of entities, in their order."""

    tags: tuple[str, ...]
    types: tuple[str, ...]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {tag: place for place, tag in enumerate(self.tags)}

    @cached_property
    def _bilou(self) -> bool:
        return has_ends(self.tags)

    def tags_of(self, entities: Entities, words: Words) -> np.ndarray:
        """The tag of each word, int64 of shape (words,): a place in `tags`.

        A word belongs to the first entity that holds a character of it, also where that begins or ends within the word.
        """
        places = self._places
        found = np.full(len(words), places[OUTSIDE], dtype=np.int64)
        taken = 0
        for start, end, kind in entities:
            first = max(taken, int(np.searchsorted(words.spans[:, 1], start, side="right")))
            last = int(np.searchsorted(words.spans[:, 0], end, side="left"))
            if first >= last:
                continue
            name = self.types[kind]
            found[first] = places[f"B-{name}"]
            found[first + 1 : last] = places[f"I-{name}"]
            if self._bilou:
                found[last - 1] = places[f"U-{name}" if last == first + 1 else f"L-{name}"]
            taken = last
        return found

    def rows(self, labels: Sequence[Entities], words: Sequence[Words]) -> np.ndarray:
        """The same of several texts: (rows, words), padded with `IGNORED`."""
        found = np.full((len(words), max(map(len, words), default=0)), IGNORED, dtype=np.int64)
        for row, (entities, each) in enumerate(zip(labels, words, strict=True)):
            found[row, : len(each)] = self.tags_of(entities, each)
        return found

    def tokens(self, entities: Entities, words: Words, length: int) -> np.ndarray:
        """The tag of each of the first `length` tokens, int16: that of its word on the first token of each word,
        `IGNORED` on all others."""
        found = np.full(length, IGNORED, dtype=np.int16)
        found[words.tokens] = self.tags_of(entities, words)
        return found


def aligner_of(names: Sequence[str], tags: Sequence[str]) -> Aligner:
    """For data with the tags `names` and a head with `tags`."""
    return Aligner(tuple(tags), TagSet(tuple(names)).types)


def count_unaligned(labels: Sequence[Entities], words: Sequence[Words]) -> int:
    """Entities that begin or end within a word: what a model finds of them is the whole word."""
    count = 0
    for entities, each in zip(labels, words, strict=True):
        starts, ends = set(each.spans[:, 0].tolist()), set(each.spans[:, 1].tolist())
        count += sum(start not in starts or end not in ends for start, end, _ in entities)
    return count


def compact(tags: np.ndarray) -> np.ndarray:
    """Rows of tokens' tags without the ignored ones, padded with `IGNORED` behind: (rows, tokens) to (rows, words)."""
    order, width = _words_first(tags)
    return np.take_along_axis(tags, order, axis=1)[:, :width]


def compact_logits(tags: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Of logits of tokens, (rows, tokens, labels), those that have a tag, padded with zeros: (rows, words, labels)."""
    order, width = _words_first(tags)
    found = np.take_along_axis(logits, order[:, :width, None], axis=1)
    there = np.take_along_axis(tags, order[:, :width], axis=1) != IGNORED
    return np.asarray(np.where(there[..., None], found, 0), dtype=np.float32)


def _words_first(tags: np.ndarray) -> tuple[np.ndarray, int]:
    """The order that puts each row's words before all else, and the most words of a row."""
    ignored = tags == IGNORED
    return np.argsort(ignored, axis=1, kind="stable"), int((~ignored).sum(axis=1).max(initial=0))
