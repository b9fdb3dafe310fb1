"""The servers of `benchmarks/serving.py`: how each is started, asked and stopped. Each is a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).parent
PACKAGES = ("litserve", "onnxruntime", "tokenizers", "numpy")
READY_SECONDS = 180
STOP_SECONDS = 30

Build = Callable[[str], str]
"""From a text to the whole HTTP request."""


@dataclass(frozen=True)
class Server:
    """`command` has `{port}` where the port belongs."""

    name: str
    command: Sequence[str]
    build: Build
    ready: str | None = None
    """The path that tells whether it is ready; None: it is once it answers the first text."""


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    server: Server
    port: int
    process: psutil.Process
    seconds_to_ready: float

    def cpu_seconds(self) -> float:
        """User and system time of the process and its children so far."""
        times = [each.cpu_times() for each in (self.process, *self.process.children(recursive=True))]
        return sum(each.user + each.system for each in times)

    def get(self, path: str) -> bytes:
        return _exchange(self.port, f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")[1]


def guide(checkpoint: str) -> Server:
    command = [sys.executable, str(HERE / "serving_guide.py"), checkpoint, "{port}"]
    return Server("the guide's: FastAPI, torch dynamic int8", command, _query)


def litserve(python: Path, model: str, tokenizer: str) -> Server:
    command = [str(python), str(HERE / "serving_litserve.py"), model, tokenizer, "{port}"]
    return Server("LitServe, onnxruntime dynamic int8, batch 8", command, _json_body("text"))


def ftx(name: str, bundle: str, *options: str) -> Server:
    command = [sys.executable, "-m", "ftx", "serve", bundle, "--port", "{port}", "--grace", "0", *options]
    return Server(name, command, _json_body("inputs"), "/v2/health/ready")


def litserve_environment(folder: Path) -> Path:
    """The interpreter of an environment with LitServe in `folder`, made at the first use.

    Raises `subprocess.CalledProcessError` where it cannot be made.
    """
    environment, complete = folder / "litserve", folder / "litserve" / "complete"
    python = environment / "bin" / "python"
    if not complete.is_file():
        print(f"making an environment for LitServe: {environment}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
        complete.touch()
    return python


@contextlib.contextmanager
def started(server: Server, text: str, log: Path) -> Iterator[Running]:
    """The server, ready; stopped at the end. Raises `RuntimeError` if it ends or does not become ready in time.

    What it says goes to `log`.
    """
    port = _free_port()
    begin = time.perf_counter()
    with log.open("ab") as output:
        command = [part.replace("{port}", str(port)) for part in server.command]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        _wait_until_ready(server, port, process, text, log)
        yield Running(server, port, psutil.Process(process.pid), time.perf_counter() - begin)
    finally:
        _stop(process)


def _wait_until_ready(server: Server, port: int, process: subprocess.Popen[bytes], text: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    request = f"GET {server.ready} HTTP/1.1\r\nhost: x\r\n\r\n" if server.ready else server.build(text)
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{server.name} ended with {process.returncode}; its output is in {log}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            if _exchange(port, request)[0] == 200:
                return
        time.sleep(0.01)
    raise RuntimeError(f"{server.name} was not ready within {READY_SECONDS} s; its output is in {log}")


def wait_until_quiet(running: Running, text: str, seconds: float) -> None:
    """Until a text alone is answered within `seconds`: what an overload left behind is no part of the next turn."""
    request = running.server.build(text)
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        begin = time.perf_counter()
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, _ = _exchange(running.port, request)
            if status == 200 and time.perf_counter() - begin < seconds:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{running.server.name} did not recover within {READY_SECONDS} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it and its children to end; after a while, end them."""
    if process.poll() is not None:
        return
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def _exchange(port: int, request: str) -> tuple[int, bytes]:
    """One request on a connection of its own: the status and the body."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request.encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _query(text: str) -> str:
    quoted = urllib.parse.quote(text)
    return f"POST /predict?text={quoted} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"


def _json_body(field: str) -> Build:
    def build(text: str) -> str:
        body = json.dumps({field: text})  # ASCII: as many bytes as characters
        head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        return f"{head}\r\n\r\n{body}"

    return build
