"""Ctrl-C and SIGTERM during a run."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_UNDER_WAY = ("step_started", "step_progress")


class Interruption:
    """Either signal raises KeyboardInterrupt: the run's record says so, and locks are let go.

    Python drops an exception that is raised in a `__del__` (those of data sets run all the time), and the signal with
    it. As a listener of the run's events this raises it again, as soon as the run shows that it still goes on.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._interrupt) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self, name: str, values: Mapping[str, Any]) -> None:
        if self._asked and name in _UNDER_WAY:
            raise KeyboardInterrupt

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        raise KeyboardInterrupt
