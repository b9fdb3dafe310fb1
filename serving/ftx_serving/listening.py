"""The socket that a server listens on."""

from __future__ import annotations

import socket

from ftx.errors import FtxError

BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """Before anything is loaded, so that a port that is taken is known at once: `FtxError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise FtxError(f"{host}:{port} cannot be listened on: {error.strerror}", "choose another: --port 0") from None
    listener.setblocking(False)
    return listener
