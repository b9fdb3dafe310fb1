"""Who is let in: decided by what costs nothing to measure, before a text is tokenized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ftx_serving.engine.items import Source
from ftx_serving.engine.refusal import Reason, Refused

SMOOTHING = 0.1
"""Weight of the newest batch in a running mean."""


@dataclass(frozen=True)
class Limits:
    """What one request may hold, and how much may wait."""

    items: int = 1024
    """Texts of a request."""
    characters: int = 1_000_000
    """Characters of a request."""
    queue_seconds: float = 0.2
    """Predicted wait beyond which nothing more is let in."""


class Load:
    """How much is waiting, and how fast it goes. Not thread-safe: the engine holds its lock."""

    def __init__(self, tokens_per_second: float, max_length: int) -> None:
        """`tokens_per_second` is what the workers do together, as measured at warm-up."""
        self.tokens_per_second = tokens_per_second
        self.tokens = 0
        """Of all that is let in and not answered; estimated where a text is not tokenized yet."""
        self._max_length = max_length
        self._characters_per_token = 4.0

    def estimate(self, source: Source) -> int:
        """Tokens of a text that nobody has tokenized."""
        if source.tokens is not None:
            return len(source.tokens)
        return min(self._max_length, 3 + round(source.characters / self._characters_per_token))

    def enter(self, tokens: int) -> None:
        self.tokens += tokens

    def leave(self, tokens: int) -> None:
        self.tokens -= tokens

    def correct(self, estimated: int, tokens: int, source: Source) -> None:
        """A text has been tokenized."""
        self.tokens += tokens - estimated
        if 3 < tokens < self._max_length and source.tokens is None:
            self._characters_per_token += SMOOTHING * (source.characters / (tokens - 2) - self._characters_per_token)

    def learn(self, tokens: int, seconds: float, workers: int) -> None:
        """A worker took `seconds` for a batch that held `tokens`, padding not counted."""
        measured = workers * tokens / max(seconds, 1e-6)
        self.tokens_per_second += SMOOTHING * (measured - self.tokens_per_second)

    def drain_seconds(self, further: int = 0) -> float:
        """The predicted time until all that waits, and `further` tokens, are computed."""
        return (self.tokens + further) / max(self.tokens_per_second, 1e-6)


def check_size(sources: Sequence[Source], limits: Limits) -> None:
    """Raise `Refused` for a request that no server state would make admissible."""
    if len(sources) > limits.items:
        raise Refused(Reason.TOO_LARGE, f"{len(sources)} texts in a request; at most {limits.items} are taken")
    characters = sum(source.characters for source in sources)
    if characters > limits.characters:
        raise Refused(Reason.TOO_LARGE, f"{characters} characters in a request; at most {limits.characters} are taken")


def check_load(tokens: int, load: Load, limits: Limits, seconds_left: float | None) -> None:
    """Raise `Refused` where the request, which is let in whole or not at all, would wait too long.

    Only what is ahead of it counts against the limit: an idle server takes a request of any admissible size.
    """
    ahead = load.drain_seconds()
    if ahead > limits.queue_seconds:
        raise Refused(
            Reason.OVERLOADED, f"what waits already takes {ahead:.2f} s", retry_after=ahead - limits.queue_seconds
        )
    if seconds_left is not None and load.drain_seconds(tokens) > seconds_left:
        raise Refused(
            Reason.OVERLOADED,
            f"the answer is expected in {load.drain_seconds(tokens):.2f} s, after the request's deadline",
            retry_after=ahead,
        )
