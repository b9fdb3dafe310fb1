"""The sampler: a process beside the server, which writes down what the server costs the machine.

    python -m ftx_loadtests.sampler --port 8000 --out resources.jsonl

It ends when it is told to (SIGTERM, SIGINT), or when the process that started it has gone. What it has written until
then is kept: each reading is a line of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import psutil

from ftx.processes import end
from ftx_loadtests.connections import Endpoint
from ftx_loadtests.resources import Resources
from ftx_loadtests.sources import Opened, open_sources

INTERVAL = 0.5
STARTING, STOPPING = 15.0, 5.0
"""Seconds that the sampler is given for its first reading, and for ending."""


@contextlib.contextmanager
def sampling(url: str, out: Path, interval: float = INTERVAL) -> Iterator[None]:
    """Sample the server behind `url` into the file `out` as long as the block lasts; then read it by `Resources.load`.

    A server on another machine is not sampled, nor this machine in its stead: the file says so and has no readings.
    """
    port = local_port(url)
    if port is None:
        note = f"{Endpoint.of(url).host} is another machine: nothing of it is sampled"
        Resources((), (note,)).save(out)
        yield
        return
    command = [sys.executable, "-m", "ftx_loadtests.sampler", "--port", str(port), "--out", str(out)]
    command += ["--interval", str(interval), "--parent", str(os.getpid())]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        _await_first_line(process, out)
        yield
    finally:
        end(process, STOPPING)
        if not _has_reading(out):
            Resources((), ("nothing is sampled: the sampler ended before its first reading",)).save(out)


def local_port(url: str) -> int | None:
    """The port of a URL whose host is this machine; None of another's, or of one that has no address."""
    endpoint = Endpoint.of(url)
    host, port = endpoint.host, endpoint.port
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError:
        return None
    own = {address.address.partition("%")[0] for each in psutil.net_if_addrs().values() for address in each}
    return port if any(ipaddress.ip_address(each).is_loopback or each in own for each in map(str, found)) else None


def listening_processes(port: int) -> list[int]:
    """The processes that accept connections on a port of this machine, without those that another of them has started.

    Empty where nobody listens, or where this user may not see who does.
    """
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return []
    found = {
        each.pid
        for each in connections
        if each.pid is not None and each.status == psutil.CONN_LISTEN and tuple(each.laddr)[1:] == (port,)
    }
    return sorted(pid for pid in found if not found & _ancestors(pid))


def record(opened: Opened, out: TextIO, stop: threading.Event, interval: float) -> None:
    """Write the head and then a reading each `interval` seconds, the first at once and the last when told to stop."""
    out.write(json.dumps({"notes": opened.notes, "devices": opened.devices}) + "\n")
    due = time.monotonic()
    while True:
        reading: dict[str, float] = {"time": time.monotonic()}
        for source in opened.sources:
            reading.update(source.read())
        out.write(json.dumps(reading) + "\n")
        out.flush()
        if stop.is_set():
            return
        due += interval
        stop.wait(max(0.0, due - time.monotonic()))


def main(arguments: Sequence[str] | None = None) -> None:
    """What the command above does."""
    parser = argparse.ArgumentParser(prog="python -m ftx_loadtests.sampler", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True, help="that the server listens on")
    parser.add_argument("--out", type=Path, required=True, help="the file to write, JSON lines")
    parser.add_argument("--interval", type=float, default=INTERVAL, help="seconds between two readings")
    parser.add_argument("--parent", type=int, help="end with this process")
    given = parser.parse_args(arguments)
    stop = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    if given.parent is not None:
        threading.Thread(target=_follow, args=(given.parent, stop), daemon=True).start()
    with given.out.open("w", encoding="utf-8") as out:
        record(open_sources(listening_processes(given.port)), out, stop, given.interval)


def _follow(parent: int, stop: threading.Event) -> None:
    while not stop.wait(1.0):
        if os.getppid() != parent:
            stop.set()


def _ancestors(pid: int) -> set[int]:
    with contextlib.suppress(psutil.Error):
        return {parent.pid for parent in psutil.Process(pid).parents()}
    return set()


def _await_first_line(process: subprocess.Popen[bytes], out: Path) -> None:
    """What is measured before the sampler runs would not be sampled."""
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline and process.poll() is None:
        if _has_reading(out):
            return
        time.sleep(0.02)


def _has_reading(out: Path) -> bool:
    return out.exists() and out.read_bytes().count(b"\n") > 1


if __name__ == "__main__":
    main()
