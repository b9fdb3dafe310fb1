"""HTTP/1.1 over kept-alive sockets, with as little as possible between the clock and the wire.

A load generator shares its processor with nothing that it measures, or should: each microsecond of the client is one
that a request may wait for. This client sends one buffer, reads one answer, and hands back the connection. It repeats
a request only where a kept connection turns out to have been closed before it was used.

It must run where sockets are gevent's (Locust sees to that).
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

BLOCK = 65536
MOST_HEAD = 65536


class BrokenAnswer(OSError):
    """The connection ended, or held something else than an answer of HTTP."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True)
class Endpoint:
    """Where requests go; `prefix` is the path that stands before each request's own."""

    secure: bool
    host: str
    port: int
    prefix: str

    @classmethod
    def of(cls, url: str) -> Endpoint:
        """Raises `ValueError` for what is no URL of HTTP."""
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is no http:// or https:// URL")
        secure = parts.scheme == "https"
        prefix = quote(parts.path.rstrip("/"), safe="%/:@!$&'()*+,;=~")
        return cls(secure, parts.hostname, parts.port or (443 if secure else 80), prefix)

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


class Client:
    """Connections to one endpoint, as many as there are requests at a time. `send` is called from many greenlets."""

    def __init__(
        self,
        endpoint: Endpoint,
        headers: Mapping[str, str],
        timeout: float,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self._headers = headers
        self._context = context or (ssl.create_default_context() if endpoint.secure else None)
        lines = {"Host": endpoint.authority, "User-Agent": "ftx-loadtest", "Accept": "application/json", **headers}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode("latin-1")
        # The one used last first: its window is open, and the others grow old and are closed by the server.
        self._idle: deque[socket.socket] = deque()

    def message(self, path: str, body: bytes) -> bytes:
        """The bytes of a POST."""
        return b"POST %s HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
            (self.endpoint.prefix + path).encode("ascii"),
            self._head,
            len(body),
            body,
        )

    def send(self, message: bytes) -> Answer:
        """Send it and read the answer, within the client's timeout. Raises `OSError` (`TimeoutError` among them)."""
        deadline = time.monotonic() + self.timeout
        connection, kept = self._take(deadline)
        try:
            try:
                answer, reusable = _exchange(connection, message, deadline, untouched=kept)
            except _ClosedBeforeUse:
                connection.close()
                connection = self._connect(deadline)
                answer, reusable = _exchange(connection, message, deadline, untouched=False)
        except BaseException:
            connection.close()
            raise
        if reusable:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def another(self, timeout: float) -> Client:
        """A client of the same endpoint with connections of its own."""
        return Client(self.endpoint, self._headers, timeout, self._context)

    def connect(self) -> socket.socket:
        """A connection for whoever speaks to the endpoint otherwise."""
        return self._connect(time.monotonic() + self.timeout)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _take(self, deadline: float) -> tuple[socket.socket, bool]:
        if self._idle:
            return self._idle.pop(), True
        return self._connect(deadline), False

    def _connect(self, deadline: float) -> socket.socket:
        connection = socket.create_connection((self.endpoint.host, self.endpoint.port), _left(deadline))
        try:
            # Without this a small request waits for the acknowledgement of the one before it.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                return self._context.wrap_socket(connection, server_hostname=self.endpoint.host)
        except BaseException:
            connection.close()
            raise
        return connection


class _ClosedBeforeUse(Exception):
    """A kept connection was closed by the server: nothing of the request has been answered."""


def _left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the request's time is over")
    return seconds


def _exchange(connection: socket.socket, message: bytes, deadline: float, *, untouched: bool) -> tuple[Answer, bool]:
    """One request and its answer; whether the connection may be used again."""
    connection.settimeout(_left(deadline))
    try:
        connection.sendall(message)
        data = connection.recv(BLOCK)
    except (ConnectionResetError, BrokenPipeError) as error:
        if untouched:
            raise _ClosedBeforeUse from error
        raise
    if not data:
        if untouched:
            raise _ClosedBeforeUse
        raise BrokenAnswer("the connection was closed without an answer")
    return _read_answer(connection, data, deadline)


def _read_answer(connection: socket.socket, data: bytes, deadline: float) -> tuple[Answer, bool]:
    while True:
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > MOST_HEAD:
                raise BrokenAnswer("the answer's head does not end")
            data += _more(connection, deadline)
        status, headers, http11 = _parse_head(data[:end])
        data = data[end + 4 :]
        if status >= 200:  # else an interim answer, such as 100 Continue
            break
    keep = headers.get("connection", "").lower() != "close" and http11
    if status in (204, 304):
        return Answer(status, headers, b""), keep
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body, rest = _read_chunks(connection, data, deadline)
        return Answer(status, headers, body), keep and not rest
    if "content-length" not in headers:
        return Answer(status, headers, _read_to_end(connection, data, deadline)), False
    length = _length(headers["content-length"], 10)
    while len(data) < length:
        data += _more(connection, deadline)
    return Answer(status, headers, data[:length]), keep and len(data) == length


def _parse_head(head: bytes) -> tuple[int, dict[str, str], bool]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise BrokenAnswer("the answer is not one of HTTP/1.1")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return int(rest[:3]), headers, version != "HTTP/1.0"


def _read_chunks(connection: socket.socket, data: bytes, deadline: float) -> tuple[bytes, bytes]:
    """The body, and what came behind it."""
    body = []
    while True:
        while (end := data.find(b"\r\n")) < 0:
            data += _more(connection, deadline)
        size = _length(data[:end].split(b";")[0].decode("latin-1"), 16)
        data = data[end + 2 :]
        while len(data) < size + 2 and size:
            data += _more(connection, deadline)
        if size == 0:
            break
        body.append(data[:size])
        data = data[size + 2 :]
    # Trailers end with an empty line; without any the empty line follows at once.
    while not data.startswith(b"\r\n") and b"\r\n\r\n" not in data:
        data += _more(connection, deadline)
    rest = data[2:] if data.startswith(b"\r\n") else data[data.find(b"\r\n\r\n") + 4 :]
    return b"".join(body), rest


def _length(value: str, base: int) -> int:
    try:
        length = int(value, base)
        if length < 0:
            raise ValueError
    except ValueError:
        raise BrokenAnswer("the answer does not say how long it is") from None
    return length


def _read_to_end(connection: socket.socket, data: bytes, deadline: float) -> bytes:
    parts = [data]
    while True:
        connection.settimeout(_left(deadline))
        if not (part := connection.recv(BLOCK)):
            return b"".join(parts)
        parts.append(part)


def _more(connection: socket.socket, deadline: float) -> bytes:
    connection.settimeout(_left(deadline))
    if not (data := connection.recv(BLOCK)):
        raise BrokenAnswer("the connection was closed in the middle of the answer")
    return data
