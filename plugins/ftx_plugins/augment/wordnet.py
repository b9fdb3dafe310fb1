"""English synonyms out of WordNet's database files.

Their format: https://wordnet.princeton.edu/documentation/wndb5wn and …/cntlist5wn. A word is replaced only where its
sense is hardly in doubt: one part of speech makes up most of its uses, and its most frequent sense is taken. That
leaves out many words, and most inflected ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PARTS = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}
DOMINANT = 0.8
"""The share of a word's counted uses that its part of speech must have."""
MINIMAL_LENGTH = 3
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
_FUNCTION_WORDS = """
    the and but for nor yet are was were have has had this that these those with from into onto they them their you
    your yours his her hers its our ours can will would could should may might must shall did does done been being
    there here then than when what who whom whose how why which where all any some more most very just only also too
    even much many such own same other another each every both few not now ever still about over under again once
    get got let one two off out per via amid upon
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


@dataclass(frozen=True)
class WordNet:
    """Word -> its synonyms, in WordNet's order."""

    synonyms: dict[str, tuple[str, ...]]

    @classmethod
    def read(cls, folder: Path) -> WordNet:
        counts = _first_sense_counts(folder / "cntlist.rev")
        senses: dict[str, dict[str, tuple[str, ...]]] = {}
        for part in ("noun", "verb", "adj", "adv"):
            words_of = dict(_synsets(folder / f"data.{part}"))
            for lemma, offset in _first_senses(folder / f"index.{part}"):
                senses.setdefault(lemma, {})[part] = words_of[offset]
        found = {}
        for lemma, parts in senses.items():
            dominant = _dominant_part(lemma, parts, counts)
            if dominant is None or lemma in FUNCTION_WORDS or len(lemma) < MINIMAL_LENGTH:
                continue
            others = tuple(word for word in parts[dominant] if word != lemma and _WORD.fullmatch(word))
            if others:
                found[lemma] = others
        return cls(found)

    def of(self, word: str) -> tuple[str, ...]:
        return self.synonyms.get(word.lower(), ())


def _dominant_part(lemma: str, parts: dict[str, tuple[str, ...]], counts: dict[tuple[str, str], int]) -> str | None:
    if len(parts) == 1:
        return next(iter(parts))
    used = {part: counts.get((lemma, part), 0) for part in parts}
    best = max(used, key=lambda part: used[part])
    return best if used[best] and used[best] >= DOMINANT * sum(used.values()) else None


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file of the database; those of its licence begin with two spaces."""
    with path.open(encoding="utf-8") as file:
        yield from (line for line in file if not line.startswith("  "))


def _synsets(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Offset -> the words of the synset; those of adjectives may have a marker such as `(p)` behind them."""
    for line in _lines(path):
        fields = line.split(" ")
        count = int(fields[3], 16)
        yield fields[0], tuple(re.sub(r"\(\w+\)$", "", word) for word in fields[4 : 4 + 2 * count : 2])


def _first_senses(path: Path) -> Iterator[tuple[str, str]]:
    """Lemma -> offset of its first sense; behind the symbols of pointers stand two counts, and then the offsets."""
    for line in _lines(path):
        fields = line.split()
        yield fields[0], fields[6 + int(fields[3])]


def _first_sense_counts(path: Path) -> dict[tuple[str, str], int]:
    """(lemma, part of speech) -> how often its senses were counted in WordNet's tagged texts."""
    found: dict[tuple[str, str], int] = {}
    for line in _lines(path):
        key, _, count = line.split()
        lemma, _, rest = key.partition("%")
        place = (lemma, PARTS[rest[0]])
        found[place] = found.get(place, 0) + int(count)
    return found
