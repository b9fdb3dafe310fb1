"""Chinese synonyms out of the extended Tongyici Cilin, and the words of a text by its vocabulary."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftx_plugins.augment.words import is_negation

SYNONYMS = "="
"""Ends the name of a group whose words mean the same; `#` of one whose words are merely of a kind."""
LONGEST = 6
SHORTEST = 2
"""Single characters mean too much."""


@dataclass(frozen=True)
class Cilin:
    """Word -> synonyms, of words that stand in one group of synonyms alone; and all words."""

    synonyms: Mapping[str, tuple[str, ...]]
    vocabulary: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> Cilin:
        groups: dict[str, list[tuple[str, ...]]] = {}
        vocabulary: set[str] = set()
        for name, members in _groups(json.loads(path.read_text(encoding="utf-8"))):
            usable = tuple(word for word in members if SHORTEST <= len(word) <= LONGEST)
            vocabulary.update(usable)
            for word in usable:
                groups.setdefault(word, []).append(usable if name.endswith(SYNONYMS) else ())
        found = {}
        for word, memberships in groups.items():
            # Of a word in several groups nobody tells which is meant.
            others = tuple(
                other for other in memberships[0] if other != word and is_negation(other) == is_negation(word)
            )
            if len(memberships) == 1 and others:
                found[word] = others
        return cls(found, frozenset(vocabulary))

    def of(self, word: str) -> tuple[str, ...]:
        return self.synonyms.get(word, ())

    def words(self, text: str, start: int, end: int) -> list[tuple[int, int]]:
        """The words of `text[start:end]`, as places, that longest matching finds both from the front and from behind.

        What only one of the two finds is cut in doubt.
        """
        forward = set(self._from_front(text, start, end))
        return sorted(forward & set(self._from_behind(text, start, end)))

    def _from_front(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        while start < end:
            lengths = range(min(LONGEST, end - start), SHORTEST - 1, -1)
            length = next((each for each in lengths if text[start : start + each] in self.vocabulary), 1)
            if length > 1:
                yield start, start + length
            start += length

    def _from_behind(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        while start < end:
            lengths = range(min(LONGEST, end - start), SHORTEST - 1, -1)
            length = next((each for each in lengths if text[end - each : end] in self.vocabulary), 1)
            if length > 1:
                yield end - length, end
            end -= length


def _groups(tree: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """The leaves of the tree: the name of a group within its parent, and its words."""
    for name, node in tree.items():
        if isinstance(node, list):
            yield name, node
        else:
            yield from _groups(node["sub"])
