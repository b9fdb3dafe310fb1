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
    feed = encoder.feed(cast(Any, [item.tokens for item in items]))
    ready = time.monotonic()
    logits = session(**feed)
    computed = time.monotonic()
    if logits.shape[0] != len(items) or not np.isfinite(logits).all():
        raise ArithmeticError("logits that are not finite, or not one row a text")
    padded_tokens = rule.rounded(feed["input_ids"].shape[1]) * len(items)
    return Batch(items, logits, ready - started, computed - ready, padded_tokens, started)
