"""Clients that misbehave: broken JSON, huge bodies, heads that come by the byte, connections that vanish.

Each does one thing again and again until it is stopped. What the server says to them is counted by status; none of it
is a failure of the test: what matters is what the well-behaved requests beside them notice.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Sequence

import gevent
import gevent.pool

from ftx_loadtests.connections import Answer, Client
from ftx_loadtests.protocols import Protocol

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


def crowd(neighbour: Client, protocol: Protocol, texts: Sequence[str]) -> Crowd:
    """Misbehaving clients of the endpoint that `neighbour` asks; none of them shares its connections."""
    turns = itertools.cycle(texts)

    def message(own: Client, text: str) -> bytes:
        ask = protocol.ask(text)
        return own.message(ask.path, ask.body)

    def bad_json() -> Answer:
        with contextlib.closing(neighbour.another(10.0)) as own:
            ask = protocol.ask(next(turns))
            return own.send(own.message(ask.path, ask.body[:-2] + b"["))

    def huge() -> Answer:
        with contextlib.closing(neighbour.another(30.0)) as own:
            ask = protocol.ask("word")
            return own.send(own.message(ask.path, ask.body + b" " * HUGE_BYTES))

    def drip() -> None:
        """A head that takes as long as the server lets it (Slowloris)."""
        own = neighbour.another(30.0)
        with contextlib.closing(own.connect()) as connection:
            for byte in message(own, "slow")[:40]:
                connection.sendall(bytes([byte]))
                gevent.sleep(DRIP_SECONDS)

    def vanish_after_asking() -> None:
        own = neighbour.another(10.0)
        with contextlib.closing(own.connect()) as connection:
            connection.sendall(message(own, next(turns)))

    def vanish_while_asking() -> None:
        own = neighbour.another(10.0)
        with contextlib.closing(own.connect()) as connection:
            connection.sendall(message(own, next(turns))[:-5])
            gevent.sleep(DRIP_SECONDS)

    return Crowd((bad_json, huge, drip, vanish_after_asking, vanish_while_asking))
