"""The words of a text, as a token classifier sees them: which token stands for each, and where it is in the text.

A word is what the tokenizer splits a text into before it looks into its vocabulary; its first token speaks for it. In
scripts that are written without spaces a tokenizer may take a whole sentence for one word: there each token is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_CJK = re.compile(
    "[\u2e80-\u2fdf\u3000-\u30ff\u3100-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
    "\U00020000-\U0003ffff]"
)
"""Ideographs, kana, bopomofo, and the punctuation and full-width forms that go with them. Korean has spaces."""


def is_cjk(character: str) -> bool:
    """Whether a character belongs to a script that is written without spaces between words."""
    return _CJK.match(character) is not None


@dataclass(frozen=True)
class Words:
    """The words of one text."""

    text: str
    tokens: np.ndarray
    """int64, shape (words,): the place of each word's first token."""
    spans: np.ndarray
    """int64, shape (words, 2): where each begins and ends in `text`, in characters, the end exclusive."""

    def __len__(self) -> int:
        return len(self.tokens)


def words_of(encoding: Any, text: str) -> Words:
    """The words of a text from its `tokenizers.Encoding`; special tokens, and tokens of white space, are none."""
    tokens: list[int] = []
    spans: list[list[int]] = []
    last = None
    for place, (word, (start, end)) in enumerate(zip(encoding.word_ids, encoding.offsets, strict=True)):
        if word is None:
            last = None
            continue
        start, end = _without_spaces(text, start, end)
        if start == end:
            continue
        parted = is_cjk(text[start]) or (bool(spans) and is_cjk(text[spans[-1][1] - 1]))
        if spans and start < spans[-1][1]:  # another byte of the same character
            parted = False
        if word == last and not parted:
            spans[-1][1] = max(spans[-1][1], end)
        else:
            tokens.append(place)
            spans.append([start, end])
        last = word
    return Words(text, np.array(tokens, dtype=np.int64), np.array(spans, dtype=np.int64).reshape(-1, 2))


def words_of_each(encodings: Sequence[Any], texts: Sequence[str]) -> list[Words]:
    """The words of several texts, in their order."""
    return [words_of(encoding, text) for encoding, text in zip(encodings, texts, strict=True)]


def _without_spaces(text: str, start: int, end: int) -> tuple[int, int]:
    """A token's place without white space around it: some tokenizers count the space before a word to the word."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def at_words(logits: np.ndarray, lengths: Sequence[int], words: Sequence[Words], *, left: bool = False) -> np.ndarray:
    """Of the logits of a batch, (rows, tokens, labels), those of the words: (rows, words, labels), padded with zeros.

    `lengths` are the tokens of each row; with `left` the padding stands before them.
    """
    width = max((len(each) for each in words), default=0)
    found = np.zeros((len(words), width, logits.shape[-1]), dtype=np.float32)
    for row, (length, each) in enumerate(zip(lengths, words, strict=True)):
        shift = logits.shape[1] - length if left else 0
        found[row, : len(each)] = logits[row, each.tokens + shift]
    return found


def join_rows(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The rows of several arrays of logits in one. Where they are of words, (rows, words, labels), all are padded to
    the widest; arrays of shape (rows, classes) are only put together."""
    if parts[0].ndim == 3:
        widest = max(part.shape[1] for part in parts)
        parts = [widen(part, widest) for part in parts]
    return np.concatenate(parts)


def widen(logits: np.ndarray, width: int) -> np.ndarray:
    """Logits of words, padded with zeros behind to `width` words."""
    return np.pad(logits, ((0, 0), (0, max(0, width - logits.shape[1])), (0, 0)))
