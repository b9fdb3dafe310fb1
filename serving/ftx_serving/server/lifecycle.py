"""From the first socket to the last answer: bind, load, serve, and stop without losing what was taken."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
import uvloop

from ftx.errors import FtxError
from ftx_serving.engine.refusal import Refused
from ftx_serving.listening import BACKLOG, listen
from ftx_serving.server.app import Service, build
from ftx_serving.server.protocol import limited
from ftx_serving.server.settings import ServerSettings

_log = logging.getLogger("ftx_serving.server")


def run(service: Service, say: Callable[[str], None] = lambda message: None) -> None:
    """Serve until SIGINT or SIGTERM. Raises `FtxError` where the port is taken, or a bundle must not serve."""
    with bind(service.settings) as listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(service, listener, say))


def bind(settings: ServerSettings) -> socket.socket:
    """The listening socket, before anything is loaded: a port that is taken is known at once."""
    return listen(settings.host, settings.port)


class _Server(uvicorn.Server):
    """Signals are ours: uvicorn would close its sockets at once."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does it, but with what the kernel has accepted taken first: closing would reset it."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await super().shutdown(sockets)


async def _serve(service: Service, listener: socket.socket, say: Callable[[str], None]) -> None:
    server = _Server(_config(service))
    stop = asyncio.Event()
    host, port = listener.getsockname()[:2]
    with _signals(service, stop, server):
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            say(f"listening on http://{host}:{port}, not ready yet")
            await asyncio.to_thread(service.models.load_all)
            if not stop.is_set():
                say(f"ready: http://{host}:{port}")
            await stop.wait()
            await _drain(service, server, serving)
        finally:
            server.should_exit = True
            await serving
            await asyncio.to_thread(service.models.stop)
    say("stopped")


async def _drain(service: Service, server: _Server, serving: asyncio.Task[None]) -> None:
    """Not ready from here on. Requests are taken for the grace, and what was taken is answered.

    uvicorn then closes idle connections, and waits for the others until the deadline of its configuration.
    """
    service.stopping = True
    _log.info("stopping", extra={"facts": {"grace_seconds": service.settings.grace_seconds}})
    await asyncio.sleep(service.settings.grace_seconds)
    server.should_exit = True
    await serving


def _config(service: Service) -> uvicorn.Config:
    settings = service.settings
    return uvicorn.Config(
        build(service),
        http=limited(settings.header_seconds, settings.max_header),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=int(settings.keep_alive_seconds),
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
    )


@contextlib.contextmanager
def _signals(service: Service, stop: asyncio.Event, server: _Server) -> Iterator[None]:
    """SIGINT and SIGTERM stop, a second one at once; SIGHUP looks for every bundle again."""
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    def ask_to_stop() -> None:
        server.force_exit = stop.is_set()
        stop.set()
        service.models.stop_loading()

    def reload() -> None:
        task = loop.create_task(_reload(service))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    handlers: dict[signal.Signals, Callable[[], Any]] = {
        signal.SIGINT: ask_to_stop,
        signal.SIGTERM: ask_to_stop,
        signal.SIGHUP: reload,
    }
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])


async def _reload(service: Service) -> None:
    for name in service.models.names:
        try:
            await asyncio.to_thread(service.models.load, name)
        except (FtxError, Refused) as error:
            _log.error("%s is not replaced: %s", name, error.message)
        except Exception as error:
            # The models after it are looked for all the same.
            _log.error("%s is not replaced: %s: %s", name, type(error).__name__, error, exc_info=error)
