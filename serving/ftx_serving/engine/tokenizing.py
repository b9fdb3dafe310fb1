"""From sources to tokens, many texts a call: `encode_batch` lets other threads run, `encode` would not."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tokenizers import Tokenizer

from ftx.tasks import TOKEN_CLASSIFICATION
from ftx_serving.contract import Contract
from ftx_serving.encoder import TextEncoder, clean
from ftx_serving.engine.items import Item, Side
from ftx_serving.engine.refusal import Reason, Refused
from ftx_serving.words import words_of


class SourceEncoder:
    """Tokenizes items. One for each thread: a tokenizer shared by threads would have them wait for one another."""

    def __init__(self, tokenizer: Tokenizer, contract: Contract, unknown: int | None) -> None:
        """`unknown` is the id that stands for what the vocabulary lacks; None where it lacks nothing."""
        self._tokenizer = tokenizer
        self._contract = contract
        self._unknown = unknown
        self._encoders: dict[Side, TextEncoder] = {contract.truncation_side: TextEncoder(tokenizer, contract)}

    def tokenize(self, items: Sequence[Item]) -> list[tuple[Item, Refused]]:
        """Give each item its tokens; returns those that have none, with the reason."""
        started = time.monotonic()
        failed: list[tuple[Item, Refused]] = []
        by_side: dict[Side, list[Item]] = {}
        for item in items:
            by_side.setdefault(item.source.side or self._contract.truncation_side, []).append(item)
        for side, group in by_side.items():
            failed += _tokenize(self._encoder(side), group)
        finished = time.monotonic()
        for item in items:
            item.tokenize_started, item.tokenized = started, finished
            if self._contract.task == TOKEN_CLASSIFICATION and item.rows:
                item.words = words_of(item.rows[0], clean(item.source.text))
            if self._unknown is not None:
                item.unknown = sum(row.ids.count(self._unknown) for row in item.rows)
        return failed

    def _encoder(self, side: Side) -> TextEncoder:
        """Few texts are cut at the other side than the bundle's: its encoder is made for the first of them."""
        if side not in self._encoders:
            self._encoders[side] = TextEncoder(self._tokenizer, replace(self._contract, truncation_side=side))
        return self._encoders[side]


def _tokenize(encoder: TextEncoder, items: Sequence[Item]) -> Iterable[tuple[Item, Refused]]:
    """All in one call; if that fails, one by one, so that only those fail that cannot be tokenized."""
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
        item.rows = encoder.rows(encoding)
        item.length = sum(map(len, item.rows))
        item.truncated = encoder.was_cut(encoding)
