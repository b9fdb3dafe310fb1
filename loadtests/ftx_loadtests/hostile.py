"""Clients that misbehave: broken JSON, huge bodies, heads that come by the byte, connections that vanish.

Each does one thing again and again until it is stopped. What the server says to them is counted by status; none of it
is a failure of the test: what matters is what the well-behaved requests beside them notice.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence

import gevent
import gevent.pool

from ftx_loadtests.connections import Answer, Client

HUGE_BYTES = 2 * 1024 * 1024
DRIP_SECONDS = 0.2
PAUSE = 0.1
COPIES = 2
"""Of each of them."""


class Crowd:
    """Misbehaving clients at work. `stop` ends them and says what they met: `hostile_STATUS` -> how often."""

    def __init__(self, acts: Sequence[Callable[[], Answer | None]]) -> None:
        self._met: Counter[str] = Counter()
        self._pool = gevent.pool.Pool()
        for act in acts:
            for _ in range(COPIES):
                self._pool.spawn(self._again_and_again, act)

    def stop(self) -> dict[str, float]:
        self._pool.kill()
        return {f"hostile_{name}": float(count) for name, count in sorted(self._met.items())}

    def _again_and_again(self, act: Callable[[], Answer | None]) -> None:
        while True:
            try:
                answer = act()
                self._met["left" if answer is None else str(answer.status)] += 1
            except TimeoutError:
                self._met["timeout"] += 1
            except OSError:
                self._met["cut"] += 1
            gevent.sleep(PAUSE)


def crowd(neighbour: Client, texts: Sequence[str]) -> Crowd:
    """Misbehaving clients of the endpoint that `neighbour` asks; none of them shares its connections."""

    def client(timeout: float) -> Client:
        return neighbour.another(timeout)

    def bad_json() -> Answer:
        with contextlib.closing(client(10.0)) as own:
            return own.send(own.message("/predict", b'{"inputs": ["never closed"'))

    def huge() -> Answer:
        with contextlib.closing(client(30.0)) as own:
            body = b'{"inputs": "%s"}' % (b"long " * (HUGE_BYTES // 5))
            return own.send(own.message("/predict", body))

    def drip() -> None:
        """A head that takes as long as the server lets it (Slowloris)."""
        connection = client(30.0).connect()
        with contextlib.closing(connection):
            for byte in itertools.islice(b"POST /predict HTTP/1.1\r\nHost: slow\r\nX-Slow: 1", 40):
                connection.sendall(bytes([byte]))
                gevent.sleep(DRIP_SECONDS)

    def vanish_after_asking() -> None:
        own = client(10.0)
        connection = own.connect()
        with contextlib.closing(connection):
            text = texts[int(time.monotonic() * 1000) % len(texts)]
            connection.sendall(
                own.message("/predict", b'{"inputs": "%s"}' % text.encode("ascii", "ignore").replace(b'"', b""))
            )

    def vanish_while_asking() -> None:
        own = client(10.0)
        connection = own.connect()
        with contextlib.closing(connection):
            message = own.message("/predict", b'{"inputs": "half of this"}')
            connection.sendall(message[: len(message) // 2 + 20])
            gevent.sleep(DRIP_SECONDS)

    return Crowd((bad_json, huge, drip, vanish_after_asking, vanish_while_asking))
