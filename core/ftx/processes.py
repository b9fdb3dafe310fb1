"""Child processes: how they are ended, and where they find each other."""

from __future__ import annotations

import socket
import subprocess
from typing import Any


def end(process: subprocess.Popen[Any], grace: float) -> None:
    """End a process by SIGTERM, and by SIGKILL where it has not ended `grace` seconds later."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of the loopback interface that nobody listens on at the moment."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
