"""Locust in processes of its own: importing it patches a process, and a generator shares its loop with nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ftx.errors import ExitCode, FtxError
from ftx.processes import end, free_port
from ftx_loadtests import suites
from ftx_loadtests.recording import Recording
from ftx_loadtests.settings import Job

FOLDER_VARIABLE = "FTX_LOADTEST_FOLDER"
PARENT_VARIABLE = "FTX_LOADTEST_PARENT"
MASTER_PORT = 5557
TICK = 0.5
BACKEND = "select"
"""Of gevent: epoll rounds a timer up to whole milliseconds, and every request would leave as late."""
GRACE = 10.0
"""Seconds that Locust has to end once it was told to."""


@dataclass(frozen=True)
class Distribution:
    """Where the generators run: this many on this machine, or elsewhere, waited for by a master here."""

    workers: int = 1
    master: bool = False
    """Wait for `workers` workers of other machines instead of starting them."""
    host: str = "0.0.0.0"
    port: int = MASTER_PORT


@dataclass(frozen=True)
class Ended:
    """How the generators ended."""

    interrupted: bool
    failure: str | None
    """Why not all was measured, in words for the user."""


def check_installed() -> None:
    if missing := [name for name in ("locust", "gevent", "numpy") if find_spec(name) is None]:
        raise FtxError(f"a load test needs {', '.join(missing)}", "pip install 'ftx-toolchain[loadtest]'")


def generate(job: Job, recording: Recording, distribution: Distribution, tick: Callable[[], None]) -> Ended:
    """Run the job to its end, and call `tick` now and then. Ctrl-C ends it early: what was measured is there."""
    recording.folder.mkdir(parents=True, exist_ok=True)
    recording.job.write_text(job.to_json(), encoding="utf-8")
    processes: list[subprocess.Popen[bytes]] = []
    interrupted = False
    try:
        with recording.log.open("ab") as log:
            for arguments in _commands(job, distribution):
                processes.append(_start(arguments, recording.folder, log.fileno()))
        while processes[0].poll() is None:
            time.sleep(TICK)
            tick()
            _look_after_workers(processes, recording)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        for process in processes:
            end(process, GRACE)
    tick()
    return Ended(interrupted, None if interrupted else _failure(processes[0].returncode, recording))


def join(suite: str, host: str, port: int) -> int:
    """Be a worker of a master elsewhere, until it is done; Locust's exit code."""
    command = [*_locust(suite), "--worker", "--master-host", host, "--master-port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, PARENT_VARIABLE: str(os.getpid())}, start_new_session=True)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    finally:
        end(process, GRACE)


def _locust(suite: str) -> list[str]:
    path = Path(suites.__file__).parent / f"{suite}.py"
    return [sys.executable, "-m", "locust", "-f", str(path), "--headless", "--only-summary", "--loglevel", "WARNING"]


def _commands(job: Job, distribution: Distribution) -> list[list[str]]:
    """The process that conducts comes first."""
    base = _locust(job.settings.suite)
    count = distribution.workers
    users = ["--users", str(count), "--spawn-rate", str(count), "--host", job.settings.url]
    if count == 1 and not distribution.master:
        return [[*base, *users]]
    if distribution.master:
        bind = ["--master-bind-host", distribution.host, "--master-bind-port", str(distribution.port)]
        return [[*base, *users, "--master", *bind, "--expect-workers", str(count)]]
    port = str(free_port())
    bind = ["--master-bind-host", "127.0.0.1", "--master-bind-port", port]
    # A worker that cannot start must not be waited for without end.
    waiting = ["--expect-workers", str(count), "--expect-workers-max-wait", "60"]
    worker = [*base, "--worker", "--master-host", "127.0.0.1", "--master-port", port]
    return [[*base, *users, "--master", *bind, *waiting], *([worker] * count)]


def _start(arguments: list[str], folder: Path, log: int) -> subprocess.Popen[bytes]:
    environment = {"GEVENT_BACKEND": BACKEND, **os.environ}
    environment |= {FOLDER_VARIABLE: str(folder), PARENT_VARIABLE: str(os.getpid())}
    # A session of its own: the terminal's Ctrl-C is ours to pass on.
    return subprocess.Popen(
        arguments,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def _look_after_workers(processes: list[subprocess.Popen[bytes]], recording: Recording) -> None:
    """A generator that has died takes its share of the load with it: the test is over."""
    conductor, *workers = processes
    dead = [worker for worker in workers if worker.poll()]
    if dead and conductor.poll() is None:
        recording.fail(f"a worker ended with exit code {dead[0].returncode}: {_last_line(recording.log)}")
        end(conductor, GRACE)


def _failure(code: int, recording: Recording) -> str | None:
    if (told := recording.failure()) is not None:
        return told
    if code == 0 or (code == 1 and _complete(recording)):  # Locust's 1: some requests have failed
        return None
    if not recording.phases():
        raise FtxError(
            f"Locust could not begin (exit code {code}): {_last_line(recording.log)}",
            f"look at {recording.log}",
            code=ExitCode.STEP_FAILED,
        )
    return f"Locust ended with exit code {code}: {_last_line(recording.log)}"


def _complete(recording: Recording) -> bool:
    phases = recording.phases()
    return bool(phases) and all(record.end is not None for record in phases)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().split("\n")
    return lines[-1] or "it says nothing"
