"""Lengths in tokens and in characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig, AutoTokenizer

from ftx_plugins.checkpoint import loading, max_length_of, quiet_transformers

CHUNK_ROWS = 1024
CHUNK_CHARACTERS = 1 << 20
"""What is tokenized at a time: an encoding takes some fifty times the memory of its text."""
THRESHOLDS = (64, 128, 256, 512)
PERCENTILES = (50, 95, 99)


class TokenCounter:
    """Counts tokens as the model would see them: special tokens included, nothing cut."""

    def __init__(self, folder: Path, *, trust_remote_code: bool = False) -> None:
        with loading(folder):
            options = {"local_files_only": True, "trust_remote_code": trust_remote_code}
            self._tokenizer = AutoTokenizer.from_pretrained(folder, **options)
            self.limit = max_length_of(AutoConfig.from_pretrained(folder, **options), self._tokenizer)
        self._backend: Any = getattr(self._tokenizer, "backend_tokenizer", None)
        if self._backend is not None:
            # tokenizer.json may hold both, and would then count what is left after cutting and padding.
            self._backend.no_truncation()
            self._backend.no_padding()

    def count(self, texts: Sequence[str], pairs: Sequence[str] | None) -> np.ndarray:
        """Tokens of each row, int32 of shape (rows,)."""
        inputs: list[Any] = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        counts = [self._count(inputs[chunk]) for chunk in _chunks(texts, pairs)]
        return np.concatenate(counts) if counts else np.zeros(0, dtype=np.int32)

    def _count(self, inputs: list[Any]) -> np.ndarray:
        if self._backend is not None:
            return np.array([len(encoding) for encoding in self._backend.encode_batch_fast(inputs)], dtype=np.int32)
        with quiet_transformers():
            rows = [self._tokenizer(*(row if isinstance(row, tuple) else (row,)))["input_ids"] for row in inputs]
        return np.array([len(row) for row in rows], dtype=np.int32)


def summarize(lengths: np.ndarray) -> dict[str, float | int]:
    """Mean, median, 95th and 99th percentile (each a length that occurs) and maximum."""
    if not len(lengths):
        return {}
    values = np.percentile(lengths, PERCENTILES, method="inverted_cdf")
    named = {f"p{percent}": int(value) for percent, value in zip(PERCENTILES, values, strict=True)}
    return {"mean": round(float(lengths.mean()), 2), **named, "max": int(lengths.max())}


def count_longer(lengths: np.ndarray, limit: int) -> dict[str, int]:
    """Tokens -> rows that are longer: at 64, 128, 256, 512, and at the model's own limit."""
    return {str(threshold): int((lengths > threshold).sum()) for threshold in sorted({*THRESHOLDS, limit})}


def _chunks(texts: Sequence[str], pairs: Sequence[str] | None) -> Iterator[slice]:
    start, characters = 0, 0
    for row, text in enumerate(texts):
        characters += len(text) + (len(pairs[row]) if pairs else 0)
        if characters >= CHUNK_CHARACTERS or row + 1 - start == CHUNK_ROWS:
            yield slice(start, row + 1)
            start, characters = row + 1, 0
    if start < len(texts):
        yield slice(start, len(texts))
