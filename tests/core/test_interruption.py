"""Signals during a run."""

from __future__ import annotations

import gc
import os
import signal
import time

import pytest

from ftx.cli.interruption import Interruption
from ftx.events import Events


def wait() -> None:
    """Until the handler raises: it runs between two steps of the interpreter, once the signal has come."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        pass


class Swallows:
    """An object that is signalled while it is collected."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)
        wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("event", ["step_progress", "step_started"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_python_drops_in_a_finalizer_stops_the_run_at_its_next_event(number: int, event: str) -> None:
    with Interruption() as interruption:
        events = Events([interruption])
        events.emit(event)
        Swallows(number)
        gc.collect()
        # How the run ends is still told.
        events.emit("run_finished")
        with pytest.raises(KeyboardInterrupt):
            events.emit(event)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_and_the_handlers_before_are_put_back(number: int) -> None:
    before = signal.getsignal(number)
    with Interruption(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
        wait()
    assert signal.getsignal(number) is before
