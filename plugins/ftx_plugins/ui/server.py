"""`ftx ui`, behind its options: from the socket to the last page."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from ftx.plugins import PluginManager
from ftx.store import Store
from ftx_plugins.ui.app import build
from ftx_plugins.ui.guard import is_loopback
from ftx_serving.listening import listen


def serve(store: Store, plugins: PluginManager, host: str, port: int, say: Callable[[str], None]) -> None:
    """Until SIGINT or SIGTERM. Raises `FtxError` where the port is taken."""
    with listen(host, port) as listener:
        address = listener.getsockname()[:2]
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        say(f"http://{shown}:{address[1]}/ shows {store.root}; Ctrl-C ends it")
        if not is_loopback(host):
            say("warning: whoever reaches this address reads the project's texts, and there is no password")
        asyncio.run(_serve(server(store, plugins, host), listener))


def server(store: Store, plugins: PluginManager, host: str) -> uvicorn.Server:
    """The server, for a socket that listens on `host`."""
    running = _Server(
        uvicorn.Config(
            build(store, plugins, host, lambda: running.should_exit),
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
    )
    return running


class _Server(uvicorn.Server):
    """Signals are ours: uvicorn would raise them anew once it has stopped."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(running: uvicorn.Server, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: setattr(running, "should_exit", True))
    await running.serve(sockets=[listener])
