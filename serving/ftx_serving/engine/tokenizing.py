"""From sources to tokens, many texts a call: `encode_batch` lets other threads run, `encode` would not."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from tokenizers import Encoding, Tokenizer

from ftx_serving.contract import Contract
from ftx_serving.encoder import TextEncoder
from ftx_serving.engine.items import Item, Side
from ftx_serving.engine.refusal import Reason, Refused
from ftx_serving.profile import unknown_token_id


class Encodes(Protocol):
    """What tokenizes: a `TextEncoder`."""

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Encoding]: ...


class SourceEncoder:
    """Tokenizes items. One for each thread: a tokenizer shared by threads would have them wait for one another."""

    def __init__(self, tokenizer: Tokenizer, contract: Contract) -> None:
        sides: tuple[Side, ...] = ("left", "right")
        self._unknown = unknown_token_id(tokenizer)
        self._default: Side = contract.truncation_side
        self._encoders: dict[Side, Encodes] = {
            side: TextEncoder(tokenizer, replace(contract, truncation_side=side)) for side in sides
        }

    def tokenize(self, items: Sequence[Item]) -> list[tuple[Item, Refused]]:
        """Give each item its tokens; returns those that have none, with the reason."""
        started = time.monotonic()
        failed: list[tuple[Item, Refused]] = []
        for side, encoder in self._encoders.items():
            failed += _tokenize(encoder, [item for item in items if (item.source.side or self._default) == side])
        finished = time.monotonic()
        for item in items:
            item.tokenize_started, item.tokenized = started, finished
            if self._unknown is not None and item.tokens is not None:
                item.unknown = item.tokens.ids.count(self._unknown)
        return failed


def _tokenize(encoder: Encodes, items: Sequence[Item]) -> Iterable[tuple[Item, Refused]]:
    """All in one call; if that fails, one by one, so that only those fail that cannot be tokenized."""
    if not items:
        return
    pairs = [item.source.pair for item in items if item.source.pair is not None]
    try:
        encodings = encoder.encode([item.source.text for item in items], pairs or None)
    except Exception as error:
        if len(items) == 1:
            yield items[0], Refused(Reason.TOKENIZER, f"the text cannot be tokenized: {type(error).__name__}: {error}")
            return
        for item in items:
            yield from _tokenize(encoder, [item])
        return
    for item, encoding in zip(items, encodings, strict=True):
        item.tokens = encoding
        item.length = len(encoding)
        item.truncated = bool(encoding.overflowing)
