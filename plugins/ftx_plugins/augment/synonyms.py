"""`augment:synonyms`: words are replaced by synonyms, English ones out of WordNet, Chinese ones out of Cilin."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx.step import Context
from ftx_plugins.augment.cilin import Cilin
from ftx_plugins.augment.config import SynonymsConfig
from ftx_plugins.augment.dictionaries import INSTALL, find_cilin, find_wordnet
from ftx_plugins.augment.extend import Proposal, extend
from ftx_plugins.augment.wordnet import WordNet
from ftx_plugins.augment.words import HAN, Word, count_words, find_words, is_negation, replace_words, with_case_of

_RUN = re.compile(rf"[{HAN}]+")
_VOWELS = "aeiou"


@dataclass(frozen=True)
class Replaceable:
    """A word that may be replaced, and by what."""

    start: int
    end: int
    options: tuple[str, ...]


def run(config: SynonymsConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Extend the training rows of `inputs["data"]`; returns how many came and what they gained."""
    dictionary = load_dictionary(config)

    def propose(texts: Sequence[str], randoms: Sequence[Random]) -> Iterator[Proposal]:
        for text, random in zip(texts, randoms, strict=True):
            yield replace_by_synonyms(text, dictionary, config, random)

    return extend("synonyms", propose, config, inputs, context)


Dictionary = Callable[[str, Sequence[Word]], list[Replaceable]]
"""Given a text and its words, those that it has synonyms for, without those that are fixed."""


def load_dictionary(config: SynonymsConfig) -> Dictionary:
    """The dictionary of `config.language`. Raises `FtxError` where it is not installed."""
    wordnet, cilin = None, None
    if config.language in ("en", "both"):
        folder = find_wordnet(config.wordnet)
        if folder is None:
            raise FtxError("WordNet is not installed", INSTALL)
        wordnet = WordNet.read(folder)
    if config.language in ("zh", "both"):
        tree = find_cilin()
        if tree is None:
            raise FtxError("Cilin is not installed", INSTALL)
        cilin = Cilin.read(tree)

    def find(text: str, words: Sequence[Word]) -> list[Replaceable]:
        found = _english(words, wordnet) if wordnet else []
        return found + (_chinese(text, words, cilin) if cilin else [])

    return find


def replace_by_synonyms(text: str, dictionary: Dictionary, config: SynonymsConfig, random: Random) -> Proposal:
    """The text with a share of its words replaced; None where none has a synonym."""
    words = find_words(text, config.protect)
    found = dictionary(text, words)
    if not found:
        return None
    chosen = random.sample(found, min(count_words(words, config.change), len(found)))
    return replace_words(text, [(each.start, each.end, random.choice(each.options)) for each in chosen])


def _english(words: Sequence[Word], wordnet: WordNet) -> list[Replaceable]:
    found = []
    for place, word in enumerate(words):
        if word.is_fixed:
            continue
        options = wordnet.of(word.text)
        if place and words[place - 1].text.lower() in ("a", "an"):
            # The article stays right.
            options = tuple(each for each in options if (each[0] in _VOWELS) == (word.text[0].lower() in _VOWELS))
        options = tuple(with_case_of(each, word.text) for each in options if not is_negation(each))
        if options:
            found.append(Replaceable(word.start, word.end, options))
    return found


def _chinese(text: str, words: Sequence[Word], cilin: Cilin) -> list[Replaceable]:
    fixed = {place for word in words if word.is_fixed for place in range(word.start, word.end)}
    found = []
    for match in _RUN.finditer(text):
        for start, end in cilin.words(text, *match.span()):
            options = cilin.of(text[start:end])
            if options and not fixed & set(range(start, end)):
                found.append(Replaceable(start, end, options))
    return found
