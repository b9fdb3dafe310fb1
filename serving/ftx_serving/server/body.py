"""The body of a request, read with limits and decoded."""

from __future__ import annotations

import asyncio
import re
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from ftx_serving.engine.refusal import Reason, Refused
from ftx_serving.server.errors import HttpError, client_gone
from ftx_serving.server.settings import ServerSettings

Form = TypeVar("Form")
READ_TO_REFUSE = 4
"""A body of up to so many times the limit is read and dropped: most clients read no answer before all is sent."""


async def read_body(request: Request, settings: ServerSettings) -> bytes:
    """The whole body. Raises `Refused` for one that is too large, and `HttpError` 408 for one that is too slow."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > READ_TO_REFUSE * settings.max_body:
        raise _too_large(settings.max_body)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(settings.body_seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= settings.max_body:
                    chunks.append(chunk)
                elif size > READ_TO_REFUSE * settings.max_body:
                    break
    except TimeoutError:
        raise HttpError(408, "timeout", f"the body did not arrive within {settings.body_seconds:g} s") from None
    except ClientDisconnect:
        raise client_gone() from None
    if size > settings.max_body:
        raise _too_large(settings.max_body)
    return b"".join(chunks)


def decode(body: bytes, decoder: msgspec.json.Decoder[Form]) -> Form:
    """Raises `HttpError` 400 for what is no JSON, `Refused` (422) for JSON of another form.

    The messages name places in the document, never what stands there.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        # A value outside an enumeration would be quoted, and it may be anything.
        message = re.sub(r"Invalid enum value .* - at", "Invalid enum value - at", str(error), flags=re.DOTALL)
        raise Refused(Reason.VALIDATION, message) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else "not JSON in UTF-8"
        raise HttpError(400, "validation", f"the body is {what}") from None


def _too_large(limit: int) -> Refused:
    return Refused(Reason.TOO_LARGE, f"the body is larger than {limit} bytes")
