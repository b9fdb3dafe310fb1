"""Every error as `{"error", "error_type"}`."""

from __future__ import annotations

import math

import msgspec
from starlette.responses import Response

from ftx_serving.engine.refusal import Reason, Refused

STATUS = {
    Reason.OVERLOADED: 429,
    Reason.DEADLINE: 503,
    Reason.TOKENIZER: 422,
    Reason.VALIDATION: 422,
    Reason.EMPTY: 422,
    Reason.TOO_LARGE: 413,
    Reason.BACKEND: 424,
    Reason.UNHEALTHY: 503,
}


class HttpError(Exception):
    """An error that is the protocol's, not the engine's."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message


def client_gone() -> HttpError:
    """The client closed its connection: nobody reads the answer."""
    return HttpError(400, "validation", "the client went away")


def describe_bug(error: Exception) -> str:
    """What the client is told of an error that nothing expected: not its message, which may quote the text."""
    return f"a bug of ftx: {type(error).__name__}; the log has its traceback"


def respond(error: Refused | HttpError) -> Response:
    """The answer to a request that failed so. `Retry-After` is in whole seconds, as HTTP wants it, rounded up."""
    if isinstance(error, HttpError):
        return error_response(error.status, error.error_type, error.message)
    headers = {} if error.retry_after is None else {"retry-after": str(max(1, math.ceil(error.retry_after)))}
    return error_response(STATUS[error.reason], error.reason.value, error.message, headers)


def error_response(status: int, error_type: str, message: str, headers: dict[str, str] | None = None) -> Response:
    body = msgspec.json.encode({"error": message, "error_type": error_type})
    # What came with the request may not have been read to its end: the connection is good for nothing more.
    closing = {"connection": "close"} if status in {408, 413} else {}
    return Response(body, status, {**closing, **(headers or {})}, media_type="application/json")
