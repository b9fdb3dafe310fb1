"""`augment:noise`: words change places with the next, or are left out.

Wei and Zou, "EDA: Easy Data Augmentation Techniques", 2019, without their random insertion. Chinese characters count as
words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx.step import Context
from ftx_plugins.augment.config import NoiseConfig
from ftx_plugins.augment.extend import Proposal, extend
from ftx_plugins.augment.words import Word, find_words, replace_words


def run(config: NoiseConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Extend the training rows of `inputs["data"]`; returns how many came and what they gained."""
    if not config.swap and not config.delete:
        raise FtxError("augment.swap and augment.delete are both 0: nothing would change", "set one of them, to 0.1")

    def propose(texts: Sequence[str], randoms: Sequence[Random]) -> Iterator[Proposal]:
        for text, random in zip(texts, randoms, strict=True):
            yield add_noise(text, config, random)

    return extend("noise", propose, config, inputs, context)


def add_noise(text: str, config: NoiseConfig, random: Random) -> Proposal:
    """The text with some free words swapped and some left out; None where there is nothing to change.

    Negations, what stands right behind one, and what is protected stay where they are. One word at least stays.
    """
    words = find_words(text, config.protect)
    changes = _swaps(words, config.swap, random)
    taken = {start for start, _, _ in changes}
    free = [word for word in words if _is_free(word) and word.start not in taken]
    count = min(int(len(words) * config.delete + 0.5), len(free), len(words) - 1)
    if not count and not changes and config.delete and len(words) > 1:
        count = min(1, len(free))
    changes += [(word.start, _end_with_space(text, word), "") for word in random.sample(free, max(count, 0))]
    return replace_words(text, changes).strip() if changes else None


def _swaps(words: Sequence[Word], share: float, random: Random) -> list[tuple[int, int, str]]:
    pairs = [place for place in range(len(words) - 1) if _is_free(words[place]) and _is_free(words[place + 1])]
    wanted = max(1, int(len(words) * share + 0.5)) if share else 0
    changes: list[tuple[int, int, str]] = []
    used: set[int] = set()
    for place in random.sample(pairs, len(pairs)):
        if len(changes) >= 2 * wanted:
            break
        if used & {place, place + 1} or words[place].text == words[place + 1].text:
            continue
        used |= {place, place + 1}
        first, second = words[place], words[place + 1]
        changes += [(first.start, first.end, second.text), (second.start, second.end, first.text)]
    return changes


def _is_free(word: Word) -> bool:
    return not word.is_fixed and not word.is_negated


def _end_with_space(text: str, word: Word) -> int:
    """The end of a word with the space behind it, so that none is left twice."""
    return word.end + 1 if text[word.end : word.end + 1] == " " else word.end
