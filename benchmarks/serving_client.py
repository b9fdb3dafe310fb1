"""An open-loop client: requests start when a Poisson process says so, and are timed from then.

    python benchmarks/serving_client.py ASKED.json

Prints one JSON document, a `Measured`. A client that waited for an answer before it sent the next request would slow
down with the server, and hide what users would see. Plain sockets that are kept alive: on the same machine a client
takes from the server whatever it computes itself.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import uvloop

MOST_CONNECTIONS = 4000
LATE = 0.02
"""Seconds by which a request may start late; a client that is slower than that measures itself."""


@dataclass(frozen=True)
class Asked:
    """What is to be sent. `requests` are whole HTTP requests, sent in random order again and again."""

    port: int
    rate: float
    """Requests a second."""
    seconds: float
    slo: float
    """Seconds within which 99% of the requests have to be answered."""
    seed: int
    requests: list[str]
    stop_early: bool = True
    """Whether it ends as soon as more than 1% of all requests have been late or not answered."""


@dataclass
class Measured:
    """Latencies in seconds, from the scheduled start."""

    scheduled: int = 0
    """Requests of the whole schedule, sent or not."""
    answered: list[float] = field(default_factory=list)
    """Latencies of what was answered with 200."""
    refused: list[float] = field(default_factory=list)
    """Latencies of what was answered with 429."""
    statuses: dict[str, int] = field(default_factory=dict)
    """Answers by their status; connections that broke are `broken`, what got no answer in time is `none`."""
    late_starts: int = 0
    """Requests that the client itself sent more than `LATE` after their time."""
    stopped_early: bool = False


class Connection(asyncio.Protocol):
    """One request at a time; idle between them."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.transport: asyncio.Transport | None = None
        self.due = 0.0
        self.busy = False
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, due: float) -> None:
        assert self.transport is not None
        self.due, self.busy = due, True
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head = self._data.find(b"\r\n\r\n")
        if head < 0:
            return
        fields = self._data[:head].lower()
        place = fields.find(b"content-length:")
        length = int(fields[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        if len(self._data) < head + 4 + length:
            return
        status = self._data[9:12].decode()
        self._data, self.busy = b"", False
        self.load.ended(self, status, closing=b"connection: close" in fields)

    def connection_lost(self, error: Exception | None) -> None:
        self.load.lost(self)


class Load:
    """The schedule, and what came of it."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.measured = Measured()
        self._requests = [request.encode() for request in asked.requests]
        self._random = random.Random(asked.seed)
        self._idle: list[Connection] = []
        self._open = 0
        self._sending: set[asyncio.Task[None]] = set()
        self._outstanding = 0
        self._missed = 0
        self._statuses: Counter[str] = Counter()

    async def run(self) -> Measured:
        begin = time.perf_counter() + 0.05
        times = self._schedule(begin)
        self.measured.scheduled = len(times)
        allowed = 0.01 * len(times)
        for due in times:
            if (wait := due - time.perf_counter()) > 0.0005:
                await asyncio.sleep(wait)
            self._start(due)
            if self.asked.stop_early and self._missed > allowed:
                self.measured.stopped_early = True
                break
        deadline = time.perf_counter() + 5 * self.asked.slo
        while self._outstanding and time.perf_counter() < deadline:
            await asyncio.sleep(0.005)
        self._statuses["none"] += self._outstanding
        self.measured.statuses = {status: count for status, count in self._statuses.items() if count}
        return self.measured

    def _schedule(self, begin: float) -> list[float]:
        """Arrivals of a Poisson process, by `time.perf_counter`."""
        times, now = [], begin
        while (now := now + self._random.expovariate(self.asked.rate)) < begin + self.asked.seconds:
            times.append(now)
        return times

    def _start(self, due: float) -> None:
        self._outstanding += 1
        if time.perf_counter() - due > LATE:
            self.measured.late_starts += 1
        request = self._random.choice(self._requests)
        while self._idle:
            connection = self._idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                connection.send(request, due)
                return
        if self._open >= MOST_CONNECTIONS:
            self._failed("broken")
            return
        self._open += 1
        task = asyncio.create_task(self._connect(request, due))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _connect(self, request: bytes, due: float) -> None:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self), "127.0.0.1", self.asked.port
            )
        except OSError:
            self._open -= 1
            self._failed("broken")
            return
        connection.send(request, due)

    def ended(self, connection: Connection, status: str, *, closing: bool) -> None:
        seconds = time.perf_counter() - connection.due
        self._outstanding -= 1
        self._statuses[status] += 1
        if status == "200":
            self.measured.answered.append(seconds)
        if status == "429":
            self.measured.refused.append(seconds)
        self._missed += status != "200" or seconds > self.asked.slo
        if closing:
            assert connection.transport is not None
            connection.transport.close()
        else:
            self._idle.append(connection)

    def lost(self, connection: Connection) -> None:
        self._open -= 1
        if connection.busy:
            connection.busy = False
            self._failed("broken")

    def _failed(self, status: str) -> None:
        self._outstanding -= 1
        self._missed += 1
        self._statuses[status] += 1


def main() -> None:
    asked = Asked(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        measured = runner.run(Load(asked).run())
    print(json.dumps(asdict(measured)))


if __name__ == "__main__":
    main()
