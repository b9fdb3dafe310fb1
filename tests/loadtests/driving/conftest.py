"""A small server whose behaviour is known, on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ftx_loadtests.measurement import Measurement
from ftx_loadtests.measuring import Plan, measure
from ftx_loadtests.payloads import Payloads, packaged
from ftx_loadtests.settings import LoadSettings

Behaviour = Callable[[bytes], Awaitable[bytes | None]]
"""From a request's body to the bytes of the answer; None closes the connection without one."""


def answer(label: str = "good", *, status: int = 200, headers: str = "", body: bytes | None = None) -> bytes:
    content = json.dumps([{"label": label, "score": 0.9}]).encode() if body is None else body
    return f"HTTP/1.1 {status} X\r\n{headers}content-length: {len(content)}\r\n\r\n".encode() + content


async def at_once(body: bytes) -> bytes | None:
    return answer()


@dataclass
class Server:
    """Runs in a thread of its own. `requests` are the bodies that it got, `connections` how many there were."""

    behaviour: Behaviour
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _listening: asyncio.Server | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        started = threading.Event()

        async def begin() -> None:
            self._listening = await asyncio.start_server(self._talk, "127.0.0.1", 0)
            self.port = self._listening.sockets[0].getsockname()[1]
            started.set()

        def run() -> None:
            self._loop.run_until_complete(begin())
            self._loop.run_forever()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        assert started.wait(10)

    def stop(self) -> None:
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._loop.stop)
        assert self._thread is not None
        self._thread.join(10)
        self._loop.run_until_complete(self._hang_up())
        self._loop.close()

    async def _hang_up(self) -> None:
        assert self._listening is not None
        self._listening.close()
        # Again and again, since a connection that was being accepted begins its talk only now.
        while talks := asyncio.all_tasks() - {asyncio.current_task()}:
            for talk in talks:
                talk.cancel()
            await asyncio.gather(*talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                _, found, rest = head.partition(b"content-length:")
                body = await reader.readexactly(int(rest.split(b"\r\n")[0])) if found else b""
                if head.startswith(b"get "):  # what kind of server it is: an unknown one
                    writer.write(answer(status=404))
                    continue
                self.requests.append(body)
                said = await self.behaviour(body)
                if said is None:
                    break
                writer.write(said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@pytest.fixture
def serve() -> Iterator[Callable[[Behaviour], Server]]:
    """`serve(behaviour)`: a server that behaves so."""
    servers: list[Server] = []

    def begin(behaviour: Behaviour = at_once) -> Server:
        servers.append(Server(behaviour))
        servers[-1].start()
        return servers[-1]

    yield begin
    for server in servers:
        server.stop()


@pytest.fixture
def run_suite(tmp_path: Path) -> Callable[..., Measurement]:
    """`run_suite(suite, url, **settings)`: what it has measured, without calibration and warm-up."""

    def run(suite: str, url: str, texts: Payloads | None = None, **settings: Any) -> Measurement:
        chosen = LoadSettings(suite, url, **{"duration": 2.0, "warmup": 0.0, **settings})
        return measure(Plan(chosen, texts or packaged(), calibrate=False), tmp_path)

    return run


def one_at_a_time(seconds: float) -> Behaviour:
    """A server of fixed capacity: 1 / `seconds` a second, in the order of arrival."""
    free = 0.0

    async def behave(body: bytes) -> bytes | None:
        nonlocal free
        now = time.monotonic()
        free = max(free, now) + seconds
        await asyncio.sleep(free - now)
        return answer()

    return behave


def stalling(period: float, stall: float) -> Behaviour:
    """Answers nothing in the first `stall` seconds of every `period`, and at once in the rest."""
    began = time.monotonic()

    async def behave(body: bytes) -> bytes | None:
        place = (time.monotonic() - began) % period
        if place < stall:
            await asyncio.sleep(stall - place)
        return answer()

    return behave
