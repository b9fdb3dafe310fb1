"""Character n-grams of many texts at once, as hashes: what near-duplicates are told by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftx_plugins.data.sampling import mix

NGRAM = 4
"""Characters of an n-gram: about a word in Chinese, less than one in English, so that short texts have some too."""
_BASE = np.uint64(0x100000001B3)


def hash_ngrams(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """A hash for each n-gram, uint64, text after text; and where each text's begin, int64 of shape (texts + 1,).

    The second time that a text has an n-gram counts as another one, so that `ha ha ha ha` is not `ha ha`: no hash
    repeats within a text. A text of fewer than `NGRAM` characters is one n-gram.
    """
    padded = [text.ljust(NGRAM, "\0") for text in texts]
    ends = np.cumsum([len(text) for text in padded], dtype=np.int64)
    points = np.frombuffer("".join(padded).encode("utf-32-le"), dtype="<u4").astype(np.uint64)
    windows = max(len(points) - NGRAM + 1, 0)
    hashes = np.zeros(windows, dtype=np.uint64)
    for shift in range(NGRAM):
        hashes = hashes * _BASE + points[shift : shift + windows]
    within = np.ones(len(points), dtype=bool)
    for shift in range(1, NGRAM):
        within[ends - shift] = False
    starts = np.r_[0, ends - (NGRAM - 1) * np.arange(1, len(padded) + 1)]
    hashes = hashes[within[:windows]]
    return mix(hashes + _occurrence(hashes, starts)), starts


def _occurrence(hashes: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """For each n-gram how often its text had it before, mixed; 0 for the first time. uint64."""
    text_of = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    order = np.lexsort((hashes, text_of))
    same = (hashes[order][1:] == hashes[order][:-1]) & (text_of[order][1:] == text_of[order][:-1])
    first = np.flatnonzero(np.r_[True, ~same][: len(order)])
    counts = np.empty(len(hashes), dtype=np.uint64)
    counts[order] = np.arange(len(order)) - np.repeat(first, np.diff(np.r_[first, len(order)]))
    return np.where(counts > 0, mix(counts), np.uint64(0))
