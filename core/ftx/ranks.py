"""Several processes that carry out one run together: which of them this one is, and how they are started here.

The names are torch's: WORLD_SIZE processes, of which the one with RANK 0 is the run; the others only lend a hand in
steps that are `data_parallel`. `torchrun` and `accelerate launch` set them across machines, `ftx run --processes` here.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from ftx.errors import ExitCode, FtxError, Problem
from ftx.plan import PlannedStep
from ftx.processes import end, free_port

LOOK_EVERY = 0.1
"""Seconds between two looks at the processes."""
GRACE = 30.0
"""Seconds that the run has to end by itself once another of its processes is gone, and others once the run is over."""


@dataclass(frozen=True)
class Place:
    """Which of how many processes this is."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0


def this_place(environment: Mapping[str, str] = os.environ) -> Place:
    """This process's place, as its launcher has set it; the only process where none has."""
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        return Place()
    return Place(int(environment["RANK"]), int(environment["WORLD_SIZE"]))


def check_processes(steps: Sequence[PlannedStep], count: int) -> Iterator[Problem]:
    """What keeps a plan from being carried out by so many processes."""
    if count == 1:
        return
    parallel = [planned for planned in steps if planned.step.data_parallel]
    if not parallel:
        names = ", ".join(dict.fromkeys(planned.name for planned in steps))
        message = f"none of {names} can be carried out by several processes"
        yield Problem(message, "--processes", ("leave --processes out, or put train into the plan",))
    for planned in parallel:
        batch_size = getattr(planned.config, "batch_size", None)
        if isinstance(batch_size, int) and batch_size % count:
            stage = planned.step.stage
            nearest = max(batch_size // count, 1) * count
            message = f"{stage}.batch_size = {batch_size} rows cannot be shared equally by {count} processes"
            yield Problem(message, planned.name, (f"--set {stage}.batch_size={nearest}",))


def launch(arguments: Sequence[str], count: int, command: str) -> int:
    """Run `ftx ARGUMENTS` in `count` processes on this machine; returns the exit code of the one that leads.

    Where another one dies, the leader is given the time to end by itself, and is then told to. Raises `FtxError` where
    that was needed, or where the leader itself was killed; `command` is then what goes on.
    """
    rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    with tempfile.TemporaryFile() as said:
        processes = [_start(arguments, Place(rank, count), rendezvous, said) for rank in range(count)]
        leader, *others = processes
        with _Forwarding(leader):
            lost, ended = _wait(leader, others)
        for process in others:
            end(process, GRACE)
        if lost is not None:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().rpartition("\n")[2]
            shown = f"process {lost} of {count} {_how(others[lost - 1])}"
            print(f"{shown}: {last}" if last else shown, file=sys.stderr)
    dead = 0 if leader.returncode < 0 and lost is None else lost
    if dead is not None and (ended or leader.returncode < 0):
        hint = f"go on where it stopped: {command}"
        raise FtxError(f"process {dead} of {count} {_how(processes[dead])}", hint, code=ExitCode.STEP_FAILED)
    return leader.returncode


class _Forwarding:
    """Passes SIGINT and SIGTERM on to the leader, once each: the processes are in groups of their own, so that a
    terminal's Ctrl-C does not reach them a second time."""

    def __init__(self, leader: subprocess.Popen[bytes]) -> None:
        self._leader = leader
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, lambda number, frame: self._leader.send_signal(number))

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _start(
    arguments: Sequence[str], place: Place, rendezvous: Mapping[str, str], said: IO[bytes]
) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        **rendezvous,
        "RANK": str(place.rank),
        "LOCAL_RANK": str(place.rank),
        "WORLD_SIZE": str(place.size),
        "LOCAL_WORLD_SIZE": str(place.size),
    }
    # The leader has the terminal; what another one says is shown if it dies.
    quiet: dict[str, Any] = (
        {} if place.leads else {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": said}
    )
    return subprocess.Popen([sys.executable, "-m", "ftx", *arguments], env=environment, process_group=0, **quiet)


def _wait(leader: subprocess.Popen[bytes], others: Sequence[subprocess.Popen[bytes]]) -> tuple[int | None, bool]:
    """Until the leader is over: which other process died before, and whether the leader had to be ended for it."""
    lost: int | None = None
    deadline = math.inf
    while leader.poll() is None:
        if lost is None:
            lost = next((rank for rank, process in enumerate(others, 1) if process.poll()), None)
            deadline = math.inf if lost is None else time.monotonic() + GRACE
        if time.monotonic() > deadline:
            end(leader, GRACE)
            return lost, True
        time.sleep(LOOK_EVERY)
    return lost, False


def _how(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    if code >= 0:
        return f"ended with exit code {code}"
    reason = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-code).name}{reason}"
