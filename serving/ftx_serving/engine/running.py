"""A batch is computed; if that fails, its halves are, down to the text that is to blame."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from ftx_serving.encoder import TextEncoder
from ftx_serving.engine.items import Item
from ftx_serving.engine.pending import BatchRule
from ftx_serving.engine.refusal import Reason, Refused
from ftx_serving.runtimes import Session
from ftx_serving.windows import pool

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """Items that were computed together, or (`error`) the one that could not be."""

    items: Sequence[Item]
    logits: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    """float32 of shape (items, classes)."""
    assemble: float = 0.0
    """Seconds to put the inputs together."""
    compute: float = 0.0
    """Seconds in the runtime."""
    padded_tokens: int = 0
    started: float = 0.0
    """By `time.monotonic`."""
    error: Refused | None = None


def run_batch(items: Sequence[Item], session: Session, encoder: TextEncoder, rule: BatchRule) -> Iterator[Batch]:
    """The items' logits, in one batch if the model can compute it."""
    try:
        yield _run(items, session, encoder, rule)
        return
    except Exception as error:
        if len(items) == 1:
            _log.error("the model failed on a text of %d tokens", items[0].length, exc_info=error)
            message = f"the model failed on this text: {type(error).__name__}"
            yield Batch(items, error=Refused(Reason.BACKEND, message))
            return
    half = len(items) // 2
    yield from run_batch(items[:half], session, encoder, rule)
    yield from run_batch(items[half:], session, encoder, rule)


def _run(items: Sequence[Item], session: Session, encoder: TextEncoder, rule: BatchRule) -> Batch:
    started = time.monotonic()
    rows = [row for item in items for row in item.rows]
    # Where neighbours matter the windows of a text are none of each other's either.
    feeds = [encoder.feed(cast(Any, [row])) for row in rows] if rule.alone else [encoder.feed(cast(Any, rows))]
    ready = time.monotonic()
    logits = np.concatenate([session(**feed) for feed in feeds]) if len(feeds) > 1 else session(**feeds[0])
    computed = time.monotonic()
    if logits.shape[0] != len(rows) or not np.isfinite(logits).all():
        raise ArithmeticError("logits that are not finite, or not one row a text")
    padded_tokens = sum(rule.rounded(feed["input_ids"].shape[1]) * len(feed["input_ids"]) for feed in feeds)
    logits = pool(logits, [len(item.rows) for item in items])
    return Batch(items, logits, ready - started, computed - ready, padded_tokens, started)
