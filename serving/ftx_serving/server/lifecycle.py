"""From the first socket to the last answer: bind, load, serve, and stop without losing what was taken."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop

from ftx.errors import ExitCode, FtxError
from ftx_serving.engine.refusal import Refused
from ftx_serving.listening import BACKLOG, listen
from ftx_serving.server.app import Service, build
from ftx_serving.server.protocol import limited
from ftx_serving.server.settings import ServerSettings
from ftx_serving.server.siblings import Siblings

if TYPE_CHECKING:
    from ftx_serving.server.grpc_server import GrpcServer

DEATH_SECONDS = 0.2
"""How often a replica looks whether one of its stages has died."""
_log = logging.getLogger("ftx_serving.server")


@dataclass(frozen=True)
class Replica:
    """One of several processes that accept from the same socket."""

    number: int
    count: int
    listener: socket.socket
    folder: Path
    """Where the replicas have their sockets for one another."""
    lifeline: int
    """A file descriptor that comes to its end when the parent process does."""
    on_ready: Callable[[], None]


def run(service: Service, say: Callable[[str], None] = lambda message: None) -> None:
    """Serve until SIGINT or SIGTERM. Raises `FtxError` where the port is taken, or a bundle must not serve."""
    with bind(service.settings) as listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(service, listener, say))


def run_replica(service: Service, replica: Replica, say: Callable[[str], None]) -> None:
    """The same for one of several. Raises `FtxError` also where a stage died: whoever started it may start it again."""
    service.siblings = Siblings(replica.folder, replica.number, replica.count)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_replica(service, replica, say))
    if deaths := service.models.deaths:
        raise FtxError("; ".join(deaths), "the log has its traceback", code=ExitCode.STEP_FAILED)


def bind(settings: ServerSettings) -> socket.socket:
    """The listening socket, before anything is loaded: a port that is taken is known at once."""
    return listen(settings.host, settings.port)


def addresses(listener: socket.socket, grpc_port: int | None) -> str:
    """Where clients find the server."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}" + ("" if grpc_port is None else f" and grpc://{shown}:{grpc_port}")


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
    grpc_server = None if service.settings.grpc_port is None else _grpc_server(service)
    where = addresses(listener, None if grpc_server is None else grpc_server.port)
    with _signals(service, stop, server):
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            if grpc_server is not None:
                await grpc_server.start()
            say(f"listening on {where}, not ready yet")
            await asyncio.to_thread(service.models.load_all)
            if not stop.is_set():
                say(f"ready: {where}")
            await stop.wait()
            await _drain(service, server, serving, grpc_server)
        finally:
            server.should_exit = True
            await serving
            if grpc_server is not None:
                await grpc_server.stop(0)
            await asyncio.to_thread(service.stop)
    say("stopped")


def _grpc_server(service: Service) -> GrpcServer:
    """Not imported unless it is asked for: gRPC is an extra."""
    try:
        from ftx_serving.server.grpc_server import GrpcServer
    except ImportError as error:
        raise FtxError(f"--grpc-port needs {error.name}", "pip install 'ftx-toolchain[serve,grpc]'") from None
    return GrpcServer(service)


async def _serve_replica(service: Service, replica: Replica, say: Callable[[str], None]) -> None:
    """Nothing is accepted before all is loaded: until then the other replicas answer."""
    assert service.siblings is not None
    server = _Server(_config(service))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    with _signals(service, stop, server) as ask_to_stop:
        loop.add_reader(replica.lifeline, ask_to_stop)
        tasks = [asyncio.create_task(_stop_at_death(service, stop))]
        listening = await service.siblings.listen(service.answer_sibling)
        grpc_server: GrpcServer | None = None
        try:
            await asyncio.to_thread(service.models.load_all)
            if not stop.is_set():
                serving = asyncio.create_task(server.serve(sockets=[replica.listener]))
                tasks.append(serving)
                if service.settings.grpc_port is not None:
                    grpc_server = _grpc_server(service)
                    await grpc_server.start()
                replica.on_ready()
                await stop.wait()
                await _drain(service, server, serving, grpc_server)
        finally:
            loop.remove_reader(replica.lifeline)
            tasks[0].cancel()
            server.should_exit = True
            await asyncio.wait(tasks)
            if grpc_server is not None:
                await grpc_server.stop(0)
            listening.close()
            await asyncio.to_thread(service.stop)
    say("stopped")


async def _stop_at_death(service: Service, stop: asyncio.Event) -> None:
    """A replica with a dead stage would go on to be given a share of the requests: it ends, and is started again."""
    while not service.models.deaths:
        await asyncio.sleep(DEATH_SECONDS)
    stop.set()


async def _drain(
    service: Service, server: _Server, serving: asyncio.Task[None], grpc_server: GrpcServer | None
) -> None:
    """Not ready from here on. Requests are taken for the grace, and what was taken is answered.

    uvicorn then closes idle connections, and waits for the others until the deadline of its configuration.
    """
    service.stopping = True
    _log.info("stopping", extra={"facts": {"grace_seconds": service.settings.grace_seconds}})
    await asyncio.sleep(service.settings.grace_seconds)
    server.should_exit = True
    await asyncio.gather(serving, *([] if grpc_server is None else [grpc_server.stop(service.settings.drain_seconds)]))


def _config(service: Service) -> uvicorn.Config:
    settings = service.settings
    return uvicorn.Config(
        build(service),
        http=limited(settings.header_seconds, settings.max_header),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nothing asks for the client's address
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=int(settings.keep_alive_seconds),
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
    )


@contextlib.contextmanager
def _signals(service: Service, stop: asyncio.Event, server: _Server) -> Iterator[Callable[[], None]]:
    """SIGINT and SIGTERM stop, a second one at once; SIGHUP looks for every bundle again. Yields what a signal to stop
    does.
    """
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
        yield ask_to_stop
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
