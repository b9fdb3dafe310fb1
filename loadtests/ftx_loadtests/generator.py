"""The worker's side: carries out one phase after the other against the endpoint, and streams a row for each request.

It must run where sockets and sleeps are gevent's (Locust sees to that).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator

import gevent
import gevent.pool
import numpy as np

from ftx_loadtests import arrivals, hostile
from ftx_loadtests.connections import Client
from ftx_loadtests.payloads import Order
from ftx_loadtests.preflight import api_key_headers, endpoint_of, protocol_of, tls_context
from ftx_loadtests.protocols import SchemaMismatch
from ftx_loadtests.samples import COLUMNS, Failure
from ftx_loadtests.scenarios import LONG_SHARE, Phase
from ftx_loadtests.server_timing import UNKNOWN, Timing, read_timing
from ftx_loadtests.settings import Job

_CODES = {"f8": "d", "f4": "f", "i4": "i", "i2": "h", "u1": "B", "u2": "H"}
_ROW = struct.Struct("=" + "".join(_CODES[kind] for kind in COLUMNS.values()))
"""A row of `samples.ROW`: packing one takes a microsecond, writing to an array of records ten."""

Report = Callable[[str, float, int, str | None], None]
"""Told of each answer: path, milliseconds, bytes, and what failed."""


class Generator:
    """One worker of a load test: its connections, its place among the workers, and the labels it has seen."""

    def __init__(self, job: Job, worker: int, workers: int, report: Report = lambda *answer: None) -> None:
        settings = job.settings
        self.job, self.worker, self.workers = job, worker, workers
        self._protocol = protocol_of(job)
        self._clients = [self._client(url) for url in (settings.url, settings.against) if url]
        self._report = report
        self._rows = bytearray()
        self._labels: dict[str, int] = {}
        self._in_flight = 0
        self._shift = 0.0

    def _client(self, url: str) -> Client:
        settings = self.job.settings
        headers = {**self._protocol.headers, **api_key_headers(settings)}
        endpoint = endpoint_of(url)
        return Client(endpoint, headers, settings.timeout, tls_context(settings) if endpoint.secure else None)

    def take_rows(self) -> tuple[bytes, list[str]]:
        """The rows since the last call, and all labels so far in the order of their numbers."""
        rows, self._rows = bytes(self._rows), bytearray()
        return rows, list(self._labels)

    def carry_out(self, phase: Phase, start: float, zero: float) -> dict[str, float]:
        """Do this worker's part of a phase, and wait for its last answer; the client's own figures.

        `start` is when the phase begins on the axis of the test, in seconds, and `zero` the same moment on this
        process's monotonic clock.
        """
        self._shift = start - zero
        began, used = time.monotonic(), time.process_time()
        crowd = hostile.crowd(self._clients[phase.endpoint], self._protocol, self.job.texts) if phase.hostile else None
        pool = gevent.pool.Pool()
        if phase.rate is None:
            self._closed_loop(phase, zero, pool)
        else:
            self._open_loop(phase, zero, pool)
        wall, cpu = time.monotonic() - began, time.process_time() - used
        outcomes = crowd.stop() if crowd else {}
        # An answer may take as long as its time allows; whoever is left then has failed by itself.
        pool.join(self.job.settings.timeout + 5.0)
        pool.kill()
        return {"worker": float(self.worker), "wall": wall, "cpu": cpu, **outcomes}

    def _open_loop(self, phase: Phase, zero: float, pool: gevent.pool.Pool) -> None:
        """Send each request when it is due, whatever became of those before it."""
        limit = self.job.settings.in_flight
        send = self._send
        for due, (text, content) in zip(self._arrivals(phase).tolist(), self._texts(phase), strict=False):
            moment = zero + due
            # Also with nothing left to sleep: what is due already must get its turn to be sent.
            gevent.sleep(max(0.0, moment - time.monotonic()))
            while (left := moment - time.monotonic()) > 0:  # a timer may come early, by what its loop has taken
                gevent.sleep(left)
            if self._in_flight >= limit:
                now = time.monotonic()
                self._record(phase, moment, now, now, 0, Failure.DROPPED, text, UNKNOWN, None)
            else:
                self._in_flight += 1
                pool.start(gevent.Greenlet(send, phase, moment, text, content))
        gevent.sleep(max(0.0, zero + phase.seconds - time.monotonic()))

    def _closed_loop(self, phase: Phase, zero: float, pool: gevent.pool.Pool) -> None:
        """So many users, each of whom asks, waits for the answer, and asks again at its pace.

        A user's request is timed from when it leaves: one that could not ask does not know how long it would have
        waited. This is what hides a stall (coordinated omission), and why the open loop is the default.
        """
        texts = self._texts(phase)
        counts = _parts(phase.users, self.workers)[self.worker]
        left = [None if phase.requests is None else _parts(phase.requests, self.workers)[self.worker]]
        gevent.sleep(max(0.0, zero - time.monotonic()))

        def user() -> None:
            turn = time.monotonic()
            while time.monotonic() - zero < phase.seconds:
                if left[0] is not None:
                    if left[0] <= 0:
                        return
                    left[0] -= 1
                text, content = next(texts)
                self._in_flight += 1
                self._send(phase, time.monotonic(), text, content)
                turn = max(turn + phase.pacing, time.monotonic())
                gevent.sleep(max(0.0, turn - time.monotonic()))

        users = [pool.spawn(user) for _ in range(counts)]
        gevent.joinall(users, timeout=phase.seconds + self.job.settings.timeout)

    def _send(self, phase: Phase, moment: float, text: int, content: str) -> None:
        """One request, from the moment it was due to its row."""
        ask = self._protocol.ask(content)
        client = self._clients[phase.endpoint]
        message = client.message(ask.path, ask.body)
        status, size, timing, label = 0, 0, UNKNOWN, None
        sent = time.monotonic()
        try:
            answer = client.send(message)
            ended = time.monotonic()
            status, size, timing = answer.status, len(answer.body), read_timing(answer.headers)
            failure = Failure.NONE if 200 <= status < 300 else Failure.STATUS
            if failure is Failure.NONE:
                label = self._protocol.read(answer.body)
        except TimeoutError:
            ended, failure = time.monotonic(), Failure.TIMEOUT
        except SchemaMismatch:
            failure = Failure.SCHEMA
        except OSError:
            ended, failure = time.monotonic(), Failure.CONNECTION
        finally:
            self._in_flight -= 1
        self._record(phase, moment, sent, ended, status, failure, text, timing, label)
        problem = None if failure is Failure.NONE else failure.name.lower()
        self._report(ask.path.partition("?")[0], (ended - moment) * 1000, size, problem)

    def _record(
        self,
        phase: Phase,
        moment: float,
        sent: float,
        ended: float,
        status: int,
        failure: Failure,
        text: int,
        timing: Timing,
        label: str | None,
    ) -> None:
        shift = self._shift
        number = -1 if label is None else self._labels.setdefault(label, len(self._labels))
        self._rows += _ROW.pack(
            moment + shift,
            sent + shift,
            ended + shift,
            status,
            failure,
            text,
            timing.tokens,
            number,
            phase.endpoint,
            phase.block,
            timing.queue,
            timing.tokenize,
            timing.batch,
            timing.compute,
            timing.batch_size,
            timing.batch_tokens,
            timing.padded_tokens,
            self.worker,
        )

    def _arrivals(self, phase: Phase) -> arrivals.Times:
        """This worker's share: of Poisson arrivals a stream of its own, since their sum is Poisson again."""
        assert phase.rate is not None
        settings = self.job.settings
        if phase.arrivals == "poisson":
            seed = (settings.seed, phase.seed, self.worker)
            return arrivals.draw("poisson", phase.rate / self.workers, phase.seconds, seed)
        if phase.arrivals == "trace":
            times = np.array(settings.trace, dtype=np.float64)
            times = times[times < phase.seconds]
        else:
            times = arrivals.constant(phase.rate, phase.seconds)
        return arrivals.share(times, self.worker, self.workers)

    def _texts(self, phase: Phase) -> Iterator[tuple[int, str]]:
        settings, texts = self.job.settings, self.job.texts
        low, high = phase.texts or (0, len(texts))
        # Workers share the texts out among themselves, so that none is sent by two of them.
        mine = range(low, high)[self.worker :: self.workers] or range(low, high)
        seed = (settings.seed, phase.seed, self.worker)
        usual = iter(Order(texts, mine, seed, settings.repeat))
        if phase.long_texts is None:
            return usual
        long = iter(Order(texts, range(*phase.long_texts), seed, settings.repeat))
        draw = np.random.default_rng([*seed, 4])

        def mixture() -> Iterator[tuple[int, str]]:
            while True:
                yield next(long) if draw.random() < LONG_SHARE else next(usual)

        return mixture()


def _parts(count: int, parts: int) -> list[int]:
    """`count` things shared out as evenly as it goes."""
    return [count // parts + (place < count % parts) for place in range(parts)]
