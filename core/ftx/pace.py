"""How fast something goes and how long it still takes, out of what it says of its progress."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW = 60.0
"""Seconds of the past that the rate is taken over: long enough to be calm, short enough to follow a change."""


class Pace:
    """The rate of one piece of work after another. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, float]] = deque()
        self._work: tuple[str, float | None] = ("", None)

    def update(self, done: float, total: float | None, unit: str) -> None:
        """Take note of progress. Another unit or total, or less done than before, is another piece of work."""
        work = (unit, total)
        if work != self._work or (self._samples and done < self._samples[-1][1]):
            self._samples.clear()
        self._work = work
        now = self._clock()
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[1][0] > WINDOW:
            self._samples.popleft()

    @property
    def rate(self) -> float | None:
        """Units a second; None until two samples tell."""
        if len(self._samples) < 2:
            return None
        (start, before), (end, after) = self._samples[0], self._samples[-1]
        return (after - before) / (end - start) if end > start and after > before else None

    @property
    def seconds_left(self) -> float | None:
        """None where the rate or the total is not known."""
        total, rate = self._work[1], self.rate
        return None if total is None or rate is None else max(total - self._samples[-1][1], 0.0) / rate


def rate_text(rate: float) -> str:
    """`0.42/s`, `1.9/s`, `1,234/s`: two digits that count."""
    return f"{rate:.2g}/s" if rate < 1 else f"{rate:.1f}/s" if rate < 10 else f"{rate:,.0f}/s"


def duration_text(seconds: float) -> str:
    """`40 s`, `12 min`, `1 h 20 min`: for people, who do not need the seconds of an hour."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
