"""HTTP as uvicorn speaks it, with what it has not: limits on the head of a request, and a sign of a lost connection."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LINGER_SECONDS = 0.5
LOST = "ftx.lost"
"""In a request's scope: a future that is done once its connection is lost."""


class LimitedProtocol(HttpToolsProtocol):
    """Cuts a connection whose request's head is too slow or too long, and so frees what it holds."""

    header_seconds: float
    max_header: int

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True
        self._lost: asyncio.Future[None] = self.loop.create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._lost.set_result(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        # What was parsed to its end in this call is no head any more, however much data came with it.
        if self._in_head and self._head_bytes > self.max_header and not self.transport.is_closing():
            self.send_400_response("The request's head is too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[LOST] = self._lost  # type: ignore[literal-required]
        self._in_head = True
        if self._timer is None:
            self._start_timer()

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._stop_timer()
        super().on_headers_complete()

    def shutdown(self) -> None:
        """The server stops. A connection without a request may have one on its way: it gets a moment for that.

        uvicorn would close it, and with it lose a request that the client has sent to a server that had accepted it.
        """
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LINGER_SECONDS, self._close_if_idle)
        else:
            super().shutdown()

    def _close_if_idle(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.header_seconds, self._cut)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()


def limited(header_seconds: float, max_header: int) -> type[LimitedProtocol]:
    """The protocol with these limits: uvicorn makes it by itself, and passes no settings on."""
    return type("Protocol", (LimitedProtocol,), {"header_seconds": header_seconds, "max_header": max_header})
