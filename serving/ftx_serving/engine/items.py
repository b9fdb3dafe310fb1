"""What moves through the engine: a request holds items, and an item is one text on its way to its logits."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from ftx_serving.engine.refusal import Refused
from ftx_serving.words import Words

Side = Literal["left", "right"]


class Tokens(Protocol):
    """The tokens of one text, as the encoder pads them into a batch: a `tokenizers.Encoding`, or `TokenIds`."""

    @property
    def ids(self) -> Sequence[int]: ...
    @property
    def attention_mask(self) -> Sequence[int]: ...
    @property
    def type_ids(self) -> Sequence[int]: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True)
class TokenIds:
    """Tokens that the client made itself."""

    ids: tuple[int, ...]
    attention_mask: tuple[int, ...]
    type_ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Source:
    """What is to be classified: a text (or a pair), cut at the end or, with `side` left, at the beginning; or tokens.

    Equal sources are computed once.
    """

    text: str
    pair: str | None = None
    side: Side | None = None
    """None: as the bundle says."""
    tokens: TokenIds | None = None

    @property
    def characters(self) -> int:
        return len(self.text) + len(self.pair or "")


@dataclass(frozen=True)
class Timing:
    """Seconds that an item spent in each stage, and the batch that it was computed in."""

    queue: float
    """Waiting, for a tokenizer and for a worker."""
    tokenize: float
    batch: float
    """Putting the batch together."""
    compute: float
    batch_size: int
    batch_tokens: int
    """Padding included."""
    arrived: float
    """This and the following by `time.monotonic`."""
    tokenize_started: float
    batch_started: float


@dataclass(frozen=True)
class Answer:
    """One text's logits, float32 of shape (classes,); of a model of tokens, (words, labels), or (tokens, labels) where
    the client made the tokens itself."""

    logits: np.ndarray
    tokens: int
    unknown: int
    """Tokens that the vocabulary has no other name for."""
    truncated: bool
    timing: Timing
    cached: bool = False
    words: Words | None = None
    """What the logits are of, where they are of words."""


class Request:
    """Items that are answered together. `future` resolves to their answers in order, or to a `Refused`."""

    def __init__(self, size: int, deadline: float | None) -> None:
        self.future: Future[list[Answer]] = Future()
        self.deadline = deadline
        """By `time.monotonic`; None: it can wait."""
        self._answers: list[Answer | None] = [None] * size
        self._left = size
        self._lock = threading.Lock()

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.future.done()

    def cancel(self) -> None:
        """The client has gone: what nobody else waits for is dropped from the queue."""
        self.future.cancel()

    def resolve(self, place: int, answer: Answer) -> None:
        with self._lock:
            self._answers[place] = answer
            self._left -= 1
            if self._left == 0 and not self.future.done() and self.future.set_running_or_notify_cancel():
                self.future.set_result([found for found in self._answers if found is not None])

    def fail(self, refused: Refused) -> None:
        """The first failure counts; a request that is done stays as it is."""
        with self._lock:
            if not self.future.done() and self.future.set_running_or_notify_cancel():
                self.future.set_exception(refused)


@dataclass(eq=False)
class Item:
    """One source on its way. All that waits for it, of one request or several, is in `waiters`."""

    source: Source
    arrived: float
    waiters: list[tuple[Request, int]]
    """Requests, with the item's place in each."""
    rows: Sequence[Tokens] = ()
    """What the model is given: one row, or one for each window of a long text; none until it is tokenized."""
    length: int = 0
    """Tokens of all rows; estimated until it is tokenized."""
    words: Words | None = None
    """Of a model of tokens."""
    unknown: int = 0
    truncated: bool = False
    tokenize_started: float = 0.0
    tokenized: float = 0.0

    def own_logits(self, logits: np.ndarray, left: bool) -> np.ndarray:
        """Out of its row of a batch's logits, (classes,) or (tokens, labels), padded before it (`left`) or behind."""
        if logits.ndim == 1:
            return logits
        shown = logits[-self.length :] if left else logits[: self.length]
        return np.array(shown if self.words is None else shown[self.words.tokens])

    @property
    def row_length(self) -> int:
        """Tokens of its longest row: the first."""
        return self.length if len(self.rows) < 2 else len(self.rows[0])

    @property
    def given_up(self) -> bool:
        return all(request.given_up for request, _ in self.waiters)
