"""Why a request gets no answer."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The `error_type` of an answer; the names are those of text-embeddings-inference, where it has one."""

    OVERLOADED = "overloaded"
    """More is waiting than can be computed in time."""
    DEADLINE = "deadline"
    """The request's own time limit has passed."""
    TOKENIZER = "tokenizer"
    VALIDATION = "validation"
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    BACKEND = "backend"
    """The model failed on this very text."""
    UNHEALTHY = "unhealthy"
    """The server is starting, stopping, or broken."""


class Refused(Exception):
    """A request that is not answered. `retry_after` is in seconds, where trying again then makes sense."""

    def __init__(self, reason: Reason, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
