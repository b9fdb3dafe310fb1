"""Latency and rate, measured side by side: the candidates take turns, so that what disturbs one disturbs all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ftx_plugins.evaluate.candidates import Candidate, Texts

WARM_UP = 5
ROUNDS = 3


@dataclass(frozen=True)
class Timing:
    """Milliseconds at batch 1, tokenization included, and rows a second in batches."""

    p50_ms: float
    p95_ms: float
    rows_per_second: float


def time_candidates(
    candidates: Sequence[Candidate],
    texts: Texts,
    pairs: Texts | None,
    *,
    latency_rows: int,
    batch_size: int,
    progress: Callable[[int, int], None],
) -> list[Timing]:
    """A `Timing` for each candidate: latency on the first `latency_rows` texts, the rate on all of them."""
    alone_texts = texts[:latency_rows]
    milliseconds = np.zeros((len(candidates), len(alone_texts)))
    for candidate in candidates:
        for row in range(min(WARM_UP, len(alone_texts))):
            candidate.model.logits([alone_texts[row]], _one(pairs, row), 1)
    for row, text in enumerate(alone_texts):
        for place, candidate in enumerate(candidates):
            started = time.perf_counter()
            candidate.model.logits([text], _one(pairs, row), 1)
            milliseconds[place, row] = (time.perf_counter() - started) * 1000
        progress(row + 1, len(alone_texts))
    seconds = np.zeros((len(candidates), ROUNDS))
    for turn in range(ROUNDS):
        for place, candidate in enumerate(candidates):
            started = time.perf_counter()
            candidate.model.logits(texts, pairs, batch_size)
            seconds[place, turn] = time.perf_counter() - started
    return [
        Timing(
            p50_ms=float(np.quantile(milliseconds[place], 0.5)),
            p95_ms=float(np.quantile(milliseconds[place], 0.95)),
            rows_per_second=len(texts) / float(np.median(seconds[place])),
        )
        for place in range(len(candidates))
    ]


def _one(pairs: Texts | None, row: int) -> Texts | None:
    return None if pairs is None else [pairs[row]]
