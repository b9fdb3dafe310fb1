"""Several processes that serve the same bundles on one port: they are started, watched and stopped here.

The parent binds the port and computes nothing; each replica is forked from it, accepts from the same socket once its
models are ready, and has a share of the cores, or a GPU, of its own. Requests that nobody has accepted yet stay in the
socket when a replica dies, and the others accept them.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from ftx import machine
from ftx.errors import ExitCode, FtxError
from ftx_serving.server.lifecycle import Replica, addresses, bind
from ftx_serving.server.settings import ServerSettings

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before a replica that died is started again; they double each time that it dies before it was ready."""
STOPPING = (signal.SIGINT, signal.SIGTERM)


class _Message(msgspec.Struct):
    """From a replica to the parent: ready, or why it cannot be."""

    ready: bool = False
    error: str = ""
    hints: list[str] = []


@dataclass
class _Child:
    """One replica, as the parent sees it."""

    number: int
    pid: int = 0
    messages: int = -1
    """What it says comes from this file descriptor."""
    unread: bytes = b""
    ready: bool = False
    wait: float = FIRST_WAIT
    start_at: float = 0.0
    """By `time.monotonic`, where it is to be started again."""


@dataclass
class _State:
    children: list[_Child]
    stopping: bool = False
    announced: bool = False
    error: FtxError | None = None
    failed: list[str] = field(default_factory=list)


def run_replicas(
    settings: ServerSettings,
    device: str,
    serve_one: Callable[[ServerSettings, Replica, Callable[[str], None]], None],
    say: Callable[[str], None],
) -> None:
    """Serve with `settings.replicas` processes until SIGINT or SIGTERM, which, like SIGHUP, are passed on to each.

    A replica that dies is started again, with a line that says so, while the others answer. `serve_one` serves in a
    replica, and returns when it has stopped. Raises `FtxError` where the port is taken, a bundle must not serve, or a
    replica did not end as it should.
    """
    with (
        bind(settings) as listener,
        _reserved(settings) as grpc_port,
        tempfile.TemporaryDirectory(prefix="ftx-serve-") as folder,
        _signals() as wakeup,
    ):
        shared = replace(settings, grpc_port=grpc_port, share_port=True)
        parent = _Parent(shared, device, serve_one, say, listener, Path(folder), wakeup)
        parent.run()


class _Parent:
    def __init__(
        self,
        settings: ServerSettings,
        device: str,
        serve_one: Callable[[ServerSettings, Replica, Callable[[str], None]], None],
        say: Callable[[str], None],
        listener: socket.socket,
        folder: Path,
        wakeup: socket.socket,
    ) -> None:
        self._settings = settings
        self._device = device
        self._serve_one = serve_one
        self._say = say
        self._listener = listener
        self._folder = folder
        self._wakeup = wakeup
        # Nothing is ever written into it. Replicas see its end when this process ends, however it does.
        self._lifeline, self._held = os.pipe()
        self._state = _State([_Child(number) for number in range(settings.replicas)])
        self._selector = selectors.DefaultSelector()
        self._selector.register(wakeup, selectors.EVENT_READ)

    def run(self) -> None:
        where = addresses(self._listener, self._settings.grpc_port)
        self._say(f"listening on {where}, {self._settings.replicas} replicas, not ready yet")
        state = self._state
        try:
            for child in state.children:
                self._start(child)
            while any(child.pid for child in state.children) or not state.stopping:
                self._wait()
                self._start_due()
                if not state.announced and all(child.ready for child in state.children):
                    state.announced = True
                    self._say(f"ready: {where}")
        finally:
            for child in state.children:
                if child.pid:
                    os.kill(child.pid, signal.SIGKILL)
                    os.waitpid(child.pid, 0)
            self._selector.close()
            os.close(self._lifeline)
            os.close(self._held)
        if state.error is not None:
            raise state.error
        if state.failed:
            raise FtxError("; ".join(state.failed), "see the log above", code=ExitCode.STEP_FAILED)
        self._say("stopped")

    def _start(self, child: _Child) -> None:
        reading, writing = os.pipe()
        child.pid = os.fork()
        if child.pid == 0:
            os.close(reading)
            self._be_replica(child.number, writing)
        os.close(writing)
        os.set_blocking(reading, False)
        child.messages, child.unread, child.ready, child.start_at = reading, b"", False, 0.0
        self._selector.register(reading, selectors.EVENT_READ, child)

    def _be_replica(self, number: int, messages: int) -> None:
        """Everything that a replica does; it never returns."""
        code = 1
        try:
            # The parent alone is asked by the terminal, and passes it on.
            os.setsid()
            self._drop_the_parents()
            _take_share(number, self._settings.replicas, self._device)

            def tell(message: _Message) -> None:
                os.write(messages, msgspec.json.encode(message) + b"\n")

            replica = Replica(
                number,
                self._settings.replicas,
                self._listener,
                self._folder,
                self._lifeline,
                on_ready=lambda: tell(_Message(ready=True)),
            )
            try:
                self._serve_one(self._settings, replica, lambda message: self._say(f"replica {number}: {message}"))
                code = 0
            except FtxError as error:
                tell(_Message(error=error.message, hints=list(error.hints)))
        except BaseException as error:  # what is above in this stack is the parent's
            import traceback

            traceback.print_exception(error)
        finally:
            os._exit(code)

    def _drop_the_parents(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in (*STOPPING, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        self._selector.close()
        self._wakeup.close()
        os.close(self._held)
        for child in self._state.children:
            if child.messages >= 0:
                os.close(child.messages)

    def _wait(self) -> None:
        due = [child.start_at for child in self._state.children if child.start_at]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._wakeup:
                self._take_signals()
            else:
                self._read(key.data)

    def _take_signals(self) -> None:
        numbers = self._wakeup.recv(64)
        for number in numbers:
            if number in STOPPING:
                self._state.stopping = True
            if number in (*STOPPING, signal.SIGHUP):
                self._pass_on(signal.Signals(number))
        if signal.SIGCHLD in numbers:
            for child in self._state.children:
                pid, status = os.waitpid(child.pid, os.WNOHANG) if child.pid else (0, 0)
                if pid:
                    self._ended(child, os.waitstatus_to_exitcode(status))

    def _pass_on(self, number: signal.Signals) -> None:
        for child in self._state.children:
            child.start_at = 0.0 if self._state.stopping else child.start_at
            if child.pid:
                os.kill(child.pid, number)

    def _read(self, child: _Child) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(child.messages, 65536):
                child.unread += data
            self._selector.unregister(child.messages)
        *lines, child.unread = child.unread.split(b"\n")
        for line in lines:
            message = msgspec.json.decode(line, type=_Message)
            if message.ready:
                child.ready, child.wait = True, FIRST_WAIT
            if message.error and not self._state.announced:
                # Another start would end alike, and nothing has been served yet.
                self._state.error = self._state.error or FtxError(message.error, *message.hints)
                self._state.stopping = True
                self._pass_on(signal.SIGTERM)
            elif message.error:
                self._say(f"replica {child.number}: {message.error}")

    def _ended(self, child: _Child, code: int) -> None:
        """It is no zombie any more. While the whole is to go on, it is started again."""
        self._read_rest(child)
        pid, child.pid = child.pid, 0
        if self._state.stopping:
            if code:
                self._state.failed.append(f"replica {child.number} ended with {code}")
            return
        delay = child.wait
        if not child.ready:
            child.wait = min(2 * child.wait, LONGEST_WAIT)
        child.ready = False
        child.start_at = time.monotonic() + delay
        self._say(f"replica {child.number} (process {pid}) has died; it is started again in {delay:g} s")

    def _read_rest(self, child: _Child) -> None:
        if child.messages in self._selector.get_map():
            self._read(child)
        if child.messages in self._selector.get_map():
            self._selector.unregister(child.messages)
        os.close(child.messages)
        child.messages = -1

    def _start_due(self) -> None:
        for child in self._state.children:
            if child.start_at and child.start_at <= time.monotonic() and not self._state.stopping:
                self._start(child)


def _take_share(number: int, count: int, device: str) -> None:
    """Of the GPUs one, of the cores an equal part; with more replicas than cores some share one."""
    if device == "cuda":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = visible.split(",") if visible else []
        # CUDA reads it when it is first used, which is later, and numbers what it sees from 0.
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)] if devices else str(number)
    if hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))[: machine.cores()]
        size = max(1, len(mine) // count)
        first = number * size % len(mine)
        os.sched_setaffinity(0, mine[first : first + size])


@contextlib.contextmanager
def _reserved(settings: ServerSettings) -> Iterator[int | None]:
    """The port for gRPC, which each replica opens for itself: bound, so that it is free and stays ours."""
    if settings.grpc_port is None:
        yield None
        return
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            reserved.bind((settings.host, settings.grpc_port))
        except OSError as error:
            raise FtxError(
                f"{settings.host}:{settings.grpc_port} cannot be listened on: {error.strerror}",
                "choose another: --grpc-port 0",
            ) from None
        yield int(reserved.getsockname()[1])


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket from which the numbers of the signals come that have arrived."""
    numbers = (*STOPPING, signal.SIGHUP, signal.SIGCHLD)
    reading, writing = socket.socketpair()
    with reading, writing:
        reading.setblocking(False)
        writing.setblocking(False)
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        woken = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        try:
            yield reading
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)
