"""Requests that are wrong in every way: each is answered or cut, and others are answered meanwhile."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from tests.serving.server.conftest import Running, Start

BODY = json.dumps({"inputs": "good"}).encode()
CHUNKED = b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
LATIN = b'{"inputs": "na\xefve"}'
NESTED = b'{"x": ' + b"[" * 8000
HEAD = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"


@pytest.fixture
def impatient(start: Start) -> Iterator[Running]:
    """A server that waits for nobody for long; while the test runs somebody else asks it, and is always answered."""
    running = start(header_seconds=0.3, body_seconds=0.3, max_body=10_000, max_header=2_000)
    done = threading.Event()
    statuses: list[int] = []

    def ask() -> None:
        while not done.is_set():
            statuses.append(running.post("/predict", {"inputs": "good"}).status)
            time.sleep(0.01)

    bystander = threading.Thread(target=ask)
    bystander.start()
    yield running
    asked = len(statuses)
    deadline = time.monotonic() + 20
    while len(statuses) < asked + 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    done.set()
    bystander.join(20)
    assert len(statuses) >= asked + 2 and set(statuses) == {200}


def exchange(running: Running, *parts: bytes, pause: float = 0.0, half_close: bool = False) -> bytes:
    """What comes back until the server closes, or says no more for 5 seconds."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=5) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            received = b""
            while data := connection.recv(65536):
                received += data
                if b'"label"' in received or b'"error"' in received:
                    return received
            return received
        except (ConnectionError, BrokenPipeError):
            return b""


@pytest.mark.parametrize(
    ("send", "expected"),
    [
        (lambda running: exchange(running, b"\x00\xff\x16\x03 nonsense\r\n\r\n"), b"400"),
        (lambda running: exchange(running, b"GET / HTTP/1.1\r\nx: " + b"a" * 5000), b"400"),
        (lambda running: exchange(running, b"POST /predict HTTP/1.1\r\ncontent-length: -5\r\n\r\n"), b"400"),
        (lambda running: exchange(running, HEAD % 3 + b"\xff\xfe{"), b"400"),
        (lambda running: exchange(running, HEAD % len(NESTED) + NESTED), b"400"),
        (lambda running: exchange(running, HEAD % len(LATIN) + LATIN), b"400"),
        (lambda running: exchange(running, HEAD % 30_000 + b" " * 30_000), b"413"),
        (lambda running: exchange(running, HEAD % 10**12), b"413"),
        (lambda running: exchange(running, HEAD % 100, b"{"), b"408"),
        (lambda running: exchange(running, b"POST /pre"), b""),
        (lambda running: exchange(running, *[b"a"] * 20, pause=0.1), b""),
        (lambda running: exchange(running, HEAD % len(BODY) + BODY, half_close=True), b""),
        (lambda running: exchange(running, HEAD % 100 + BODY, half_close=True), b""),
        (lambda running: exchange(running, CHUNKED + b"zz\r\n"), b"400"),
    ],
    ids=[
        "no HTTP", "huge head", "negative length", "no JSON", "nested", "not UTF-8", "too large", "announced too large",
        "slow body", "unfinished head", "slow head", "half closed", "half closed within", "broken chunk",
    ],
)  # fmt: skip
def test_a_broken_request_is_answered_or_cut(
    impatient: Running, send: Callable[[Running], bytes], expected: bytes
) -> None:
    received = send(impatient)
    # Whoever shuts its side looks like one that has gone, and is dropped.
    assert received[9:12] == expected


def test_many_idle_and_half_open_connections_harm_nobody(impatient: Running) -> None:
    connections = [socket.create_connection(("127.0.0.1", impatient.port), timeout=5) for _ in range(100)]
    for connection in connections[::2]:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\n")
    for connection in connections:
        assert connection.recv(100) == b""
        connection.close()


def fuzz(running: Running, examples: int) -> set[int]:
    """Requests after the OpenAPI document, valid and not: none is answered with a server's error. Returns the statuses
    that there were."""
    document = running.get("/openapi.json").json
    # 503 is a server's state that is no fault of it, and needs no request to come about.
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=f"http://{running.address}")
    statuses: set[int] = set()
    for found in schema.get_all_operations():
        operation = found.ok()

        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            statuses.add(case.call_and_validate(checks=[not_a_server_error]).status_code)

        check()
    return statuses


def test_no_request_after_the_schema_is_a_servers_error(start: Start) -> None:
    assert {200, 422} <= fuzz(start(), 10)


@pytest.mark.slow
def test_no_request_of_very_many_after_the_schema_is_a_servers_error(start: Start) -> None:
    assert {200, 422} <= fuzz(start(), 500)
