"""The client on sockets: every way in which an answer may come, or not."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.loadtests.driving.conftest import answer

from ftx_loadtests.connections import BrokenAnswer, Client, Endpoint


@pytest.fixture
def ask(serve):
    """`ask(behaviour)`: a client of a server that behaves so, and the server."""
    clients: list[Client] = []

    def begin(behaviour, timeout: float = 5.0):
        server = serve(behaviour)
        clients.append(Client(Endpoint.of(server.url), {}, timeout))
        return clients[-1], server

    yield begin
    for client in clients:
        client.close()


def says(*parts: bytes):
    async def behave(body: bytes) -> bytes | None:
        return b"".join(parts)

    return behave


def test_a_connection_is_kept_for_the_next_request(ask):
    client, server = ask(says(answer()))
    for _ in range(3):
        assert client.send(client.message("/predict", b"{}")).status == 200
    assert server.connections == 1


def test_chunks_with_extensions_and_trailers_are_one_body(ask):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    client, server = ask(says(head, b"3;x=1\r\nabc\r\n", b"A\r\n0123456789\r\n", b"0\r\nx-late: 1\r\n\r\n"))
    for _ in range(2):
        assert client.send(client.message("/", b"")).body == b"abc0123456789"
    assert server.connections == 1


def test_an_interim_answer_is_passed_over(ask):
    client, _ = ask(says(b"HTTP/1.1 100 Continue\r\n\r\n", answer("late")))
    assert b"late" in client.send(client.message("/", b"")).body


def test_a_connection_that_the_server_closes_is_not_used_again(ask):
    client, server = ask(says(answer(headers="Connection: close\r\n")))
    for _ in range(2):
        client.send(client.message("/", b""))
    assert server.connections == 2


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(ask, serve):
    async def answer_and_close(body: bytes) -> bytes | None:
        return None if server.requests[-1] == b"second" and server.connections == 1 else answer()

    client, server = ask(answer_and_close)
    client.send(client.message("/", b"first"))
    assert client.send(client.message("/", b"second")).status == 200
    assert server.connections == 2


def test_a_new_connection_that_is_closed_without_an_answer_is_an_error(ask):
    async def close(body: bytes) -> bytes | None:
        return None

    client, _ = ask(close)
    with pytest.raises(BrokenAnswer, match="without an answer"):
        client.send(client.message("/", b""))


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: -4\r\n\r\n"]
)
def test_what_is_no_answer_of_http_is_an_error(ask, said):
    client, _ = ask(says(said))
    with pytest.raises(BrokenAnswer):
        client.send(client.message("/", b""))


def test_an_answer_that_does_not_come_ends_with_the_timeout(ask):
    async def behave(body: bytes) -> bytes | None:
        await asyncio.sleep(3)
        return answer()

    client, _ = ask(behave, timeout=0.3)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        client.send(client.message("/", b""))
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("url", "authority", "prefix"),
    [
        ("http://h", "h", ""),
        ("https://h:443/api/", "h", "/api"),
        ("h:8000", "h:8000", ""),
        ("http://h/a%20路/", "h", "/a%20%E8%B7%AF"),
        ("http://[::1]:80/", "[::1]", ""),
        ("http://[::1]:81", "[::1]:81", ""),
    ],
)
def test_a_url_says_where_and_under_what_path(url, authority, prefix):
    endpoint = Endpoint.of(url)
    assert (endpoint.authority, endpoint.prefix) == (authority, prefix)


@pytest.mark.parametrize("url", ["ftp://h", "http://", "http://h:99999"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(ValueError, match=r"URL|range"):
        Endpoint.of(url)
