"""What every request passes: who may ask, what may be changed from where, and what a page may load."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "::1")
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    # Not "no-referrer": with that a browser says of its own forms that they come from nowhere.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
READING = ("GET", "HEAD")


class Guard:
    """ASGI around the application.

    A page elsewhere may let its own name lead to this address (DNS rebinding), and would then read the pages as its
    own: so the `Host` must be a name of this machine. It may also send a form here: so what is no reading must come
    from a page of ours, which the `Origin` tells.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        """`host` is the address that is listened on."""
        self._app, self._host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message.get("headers", ())}
                added = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in given]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        answer: ASGIApp = self._app
        if len(hosts) != 1 or not is_ours(hosts[0], self._host):
            answer = PlainTextResponse("this server does not go by that name\n", 421)
        elif scope["method"] not in READING and origins != [f"http://{hosts[0]}"]:
            answer = PlainTextResponse("this must come from a page of this server\n", 403)
        await answer(scope, receive, send_with_headers)


def is_ours(host: str, bound: str) -> bool:
    """Whether a `Host` names this machine, where `bound` is listened on.

    The port is not looked at: a tunnel has its own. Where others may connect, they may know the machine by any of its
    addresses, of which none can be made to lead here by somebody else, or by its name.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return False
    if name in (*LOOPBACK, bound.lower()):
        return True
    if is_loopback(bound):
        return False
    return name == socket.gethostname().lower() or _is_address(name)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`."""
    return host.lower() == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
