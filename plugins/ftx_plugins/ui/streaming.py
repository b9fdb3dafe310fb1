"""Server-sent events: the parts of a page that have changed, as HTML, until what the page is about is over."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping

Parts = Mapping[str, str]
KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent, so that a connection that is gone is noticed."""
SECONDS_BETWEEN_GLANCES = 0.25
"""After which a server that is to stop is noticed."""


async def changes(
    parts: Callable[[], tuple[Parts, bool]], seconds: float, is_stopping: Callable[[], bool]
) -> AsyncIterator[str]:
    """Each event is JSON, part -> HTML. `parts` gives them all, and whether they may still change; it is asked every so
    many `seconds`, in a thread.

    The first event has all parts: what happened since the page was made is in it. The last one is `over`, unless the
    server stops before.
    """
    sent: dict[str, str] = {}
    spoke = time.monotonic()
    while True:
        now, changing = await asyncio.to_thread(parts)
        new = {name: html for name, html in now.items() if sent.get(name) != html}
        if new:
            sent |= new
            spoke = time.monotonic()
            yield f"data: {json.dumps(new)}\n\n"
        elif time.monotonic() - spoke > KEEP_ALIVE:
            spoke = time.monotonic()
            yield ": still here\n\n"
        if not changing:
            yield "event: over\ndata: {}\n\n"
            return
        waited = time.monotonic() + seconds
        while time.monotonic() < waited:
            if is_stopping():
                return
            await asyncio.sleep(SECONDS_BETWEEN_GLANCES)
