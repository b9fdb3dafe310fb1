"""Signals during a run, each in a process of its own: that of the tests has handlers and threads besides."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PRELUDE = """
import gc, os, signal, sys, time

import pytest

from ftx.cli.interruption import Interruption
from ftx.events import Events

number = int(sys.argv[1])


def wait():
    # Until the handler raises: it runs between two steps of the interpreter, once the signal has come.
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        pass

"""
DROPPED = """
class Swallows:
    # An object that is signalled while it is collected.
    def __del__(self):
        os.kill(os.getpid(), number)
        wait()


event = sys.argv[2]
with Interruption() as interruption:
    events = Events([interruption])
    events.emit(event)
    Swallows()
    gc.collect()
    # How the run ends is still told.
    events.emit("run_finished")
    with pytest.raises(KeyboardInterrupt):
        events.emit(event)
print("done")
"""
RAISED = """
before = signal.getsignal(number)
with Interruption(), pytest.raises(KeyboardInterrupt):
    os.kill(os.getpid(), number)
    wait()
assert signal.getsignal(number) is before
print("done")
"""


def carried_out(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PRELUDE + script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("event", ["step_progress", "step_started"])
def test_a_signal_that_python_drops_in_a_finalizer_stops_the_run_at_its_next_event(number: int, event: str) -> None:
    ran = carried_out(DROPPED, int(number), event)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "done\n"
    # Python has dropped the first, as it does of all that is raised in a finalizer.
    assert "Exception ignored in: <function Swallows.__del__" in ran.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_and_the_handlers_before_are_put_back(number: int) -> None:
    ran = carried_out(RAISED, int(number))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "done\n"
