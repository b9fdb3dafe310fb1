"""What a bundle does here: the budget of a batch, workers and threads, found by measuring for about a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from ftx_serving.encoder import TextEncoder
from ftx_serving.engine.items import Tokens
from ftx_serving.engine.pending import BatchRule
from ftx_serving.runtimes import Session

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
MAX_BUDGET = 4096
"""Padded tokens; beyond it a batch only takes longer."""
GOOD_ENOUGH = 0.9
"""Of the highest rate: among such budgets the smallest is taken, since its batches are the shortest."""
REPEATS = 3


@dataclass(frozen=True)
class Measured:
    """How fast sessions are, at one budget."""

    budget: int
    tokens_per_second: float
    """Of all workers together, padding not counted."""
    batch_seconds: float
    text_tokens: int
    """The length that was measured with."""

    @property
    def texts_per_second(self) -> float:
        return self.tokens_per_second / self.text_tokens

    def __str__(self) -> str:
        return (
            f"about {self.texts_per_second:.0f} texts/s of {self.text_tokens} tokens, in batches of up to "
            f"{self.budget} padded tokens that take {1000 * self.batch_seconds:.1f} ms"
        )


def measure_budget(
    session: Session, encoder: TextEncoder, rows: Sequence[Tokens], rule: BatchRule, longest_seconds: float
) -> Measured:
    """The smallest budget that comes near the highest rate, of those whose batches take at most `longest_seconds`.

    `rows` are tokens of typical texts; the one of median length stands for them all. A variant that takes each text
    alone is only timed.
    """
    row = _median(rows)
    length = rule.rounded(len(row))
    found: list[Measured] = []
    for size in (1,) if rule.alone else BATCH_SIZES:
        if found and length * size > MAX_BUDGET:
            break
        seconds = _time(session, encoder, row, size)
        if found and seconds > longest_seconds:
            break
        found.append(Measured(length * size, len(row) * size / seconds, seconds, len(row)))
    best = max(each.tokens_per_second for each in found)
    return next(each for each in found if each.tokens_per_second >= GOOD_ENOUGH * best)


def measure_together(
    sessions: Sequence[Session], encoder: TextEncoder, rows: Sequence[Tokens], rule: BatchRule
) -> Measured:
    """The rate of several workers at once, each with batches as large as `rule` allows."""
    row = _median(rows)
    length = rule.rounded(len(row))
    size = 1 if rule.alone else max(1, rule.budget // length)
    seconds = [0.0] * len(sessions)

    def work(place: int) -> None:
        seconds[place] = _time(sessions[place], encoder, row, size)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(1, len(sessions))]
    for thread in threads:
        thread.start()
    work(0)
    for thread in threads:
        thread.join()
    if not all(seconds):
        raise RuntimeError("a worker failed while it was measured; the error is above")
    rate = sum(len(row) * size / each for each in seconds)
    return Measured(rule.budget, rate, max(seconds), len(row))


def _median(rows: Sequence[Tokens]) -> Tokens:
    return sorted(rows, key=len)[len(rows) // 2]


def _time(session: Session, encoder: TextEncoder, row: Tokens, size: int) -> float:
    """The median of some calls, after one that builds what the shape needs."""
    feed = encoder.feed(cast(Any, [row] * size))
    session(**feed)
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        session(**feed)
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]
