"""The words of a text, where they stand, and which of them must stay as they are. Light."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_LETTER = rf"(?:(?![{HAN}])[^\W\d_])"
_WORD = re.compile(rf"[{HAN}]|{_LETTER}+(?:['’]{_LETTER}+)*")
_FIXED = re.compile(r"https?://\S+|www\.\S+|[@#$]\w+|\S+@\S+\.\w+|&#?\w+;|\w*\d\w*", re.ASCII)
_SENTENCE_END = '.!?。！？…\n"“”:;'

_NEGATIONS = """
    no not never nor neither none nobody nothing nowhere without cannot hardly barely scarcely rarely seldom lack
    lacks lacking aint arent cant couldnt didnt doesnt dont hadnt hasnt havent isnt mustnt neednt shouldnt wasnt
    werent wont wouldnt nope nah
"""
NEGATIONS = frozenset(_NEGATIONS.split())
HAN_NEGATIONS = frozenset("不没沒无無非未别別莫勿否弗甭毋")


@dataclass(frozen=True)
class Word:
    """A word at `text[start:end]`: letters with apostrophes within; of Chinese, one character."""

    start: int
    end: int
    text: str
    is_fixed: bool
    """Whether it must stay: a negation, a name, a link, a mention, a hashtag, or protected by the user."""
    is_negated: bool
    """Whether it stands right behind a negation: to move or to drop it would change what is denied."""


def find_words(text: str, protect: Sequence[str] = ()) -> list[Word]:
    """The words of a text, in order. `protect` are words and phrases that stay, whatever their case."""
    spans = [match.span() for match in _FIXED.finditer(text)]
    spans += [match.span() for pattern in map(_phrase, protect) for match in pattern.finditer(text)]
    shouts = text.isupper()
    words: list[Word] = []
    negates = False
    for match in _WORD.finditer(text):
        word = match.group()
        negation = is_negation(word)
        fixed = negation or _overlaps(match.span(), spans) or (not shouts and _is_name(text, match.start(), word))
        words.append(Word(match.start(), match.end(), word, fixed, negates))
        negates = negation
    return words


def is_negation(word: str) -> bool:
    """Whether a word, or a Chinese word's character, denies."""
    folded = word.casefold().replace("’", "'")
    return folded in NEGATIONS or folded.endswith("n't") or any(letter in HAN_NEGATIONS for letter in word)


def count_words(words: Sequence[Word], share: float) -> int:
    """How many words are that share of them, one at least where there are any."""
    return min(len(words), max(1, int(len(words) * share + 0.5)))


def replace_words(text: str, replacements: Iterable[tuple[int, int, str]]) -> str:
    """The text with `text[start:end]` replaced, for each (start, end, new); the spans do not overlap."""
    for start, end, new in sorted(replacements, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def with_case_of(new: str, old: str) -> str:
    """`new` in capitals, or with a capital, where `old` is so."""
    if len(old) > 1 and old.isupper():
        return new.upper()
    return new[:1].upper() + new[1:] if old[:1].isupper() else new


def _phrase(phrase: str) -> re.Pattern[str]:
    edges = [r"\b" if edge.isascii() and edge.isalnum() else "" for edge in (phrase[:1], phrase[-1:])]
    return re.compile(edges[0] + re.escape(phrase) + edges[1], re.IGNORECASE)


def _overlaps(span: tuple[int, int], spans: Sequence[tuple[int, int]]) -> bool:
    return any(start < span[1] and span[0] < end for start, end in spans)


def _is_name(text: str, start: int, word: str) -> bool:
    """A capital within a sentence. `I` is none, and is in no dictionary either."""
    before = text[:start].rstrip(" \t'‘(")
    return word[0].isupper() and bool(before) and before[-1] not in _SENTENCE_END
