"""What every request passes: its id, the API key, the log; and, once the server is stopping, its connection's end."""

from __future__ import annotations

import hmac
import logging
import random
import re
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ftx_serving.server.errors import error_response
from ftx_serving.server.metrics import Metrics
from ftx_serving.server.settings import ServerSettings

OPEN_PATHS = ("/health", "/metrics", "/v2/health/live", "/v2/health/ready")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_log = logging.getLogger("ftx_serving.access")


class Gate:
    """ASGI around the application. The log has neither texts nor query strings, which may hold one."""

    def __init__(
        self, app: ASGIApp, settings: ServerSettings, metrics: Metrics, is_stopping: Callable[[], bool]
    ) -> None:
        self._app = app
        self._key = None if settings.api_key is None else settings.api_key.encode()
        self._open = OPEN_PATHS if settings.open_metrics else ()
        self._metrics = metrics
        self._is_stopping = is_stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        identity = _identity(headers)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = [(b"x-request-id", identity.encode())]
                if self._is_stopping():
                    added.append((b"connection", b"close"))
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        try:
            if self._may_pass(scope["path"], headers):
                await self._app(scope, receive, send_with_id)
            else:
                refusal = error_response(401, "unauthorized", "the API key is missing or wrong")
                refusal.headers["www-authenticate"] = "Bearer"
                await refusal(scope, receive, send_with_id)
        finally:
            self._record(scope, headers, identity, status, time.perf_counter() - started)

    def _may_pass(self, path: str, headers: dict[bytes, bytes]) -> bool:
        if self._key is None or path in self._open:
            return True
        return is_bearer(headers.get(b"authorization", b""), self._key)

    def _record(self, scope: Scope, headers: dict[bytes, bytes], identity: str, status: int, seconds: float) -> None:
        # A path that no route has is the client's to choose: as a label it could fill the memory.
        path = getattr(scope.get("route"), "path", "other")
        self._metrics.count_request(path, str(status), seconds)
        if _log.isEnabledFor(logging.INFO):
            found = _TRACE.fullmatch(headers.get(b"traceparent", b"").decode("latin-1"))
            trace = {} if found is None else {"trace_id": found[1]}
            facts = {"method": scope["method"], "path": path, "status": status, "ms": round(1000 * seconds, 2)}
            _log.info("request", extra={"facts": {**facts, "request_id": identity, **trace}})


def is_bearer(authorization: bytes, key: bytes) -> bool:
    """Whether that header or metadata of a request shows the API key."""
    scheme, _, given = authorization.partition(b" ")
    # Both are evaluated: how long it takes must not tell how much of a key was right.
    right = hmac.compare_digest(given.strip(), key)
    return right and scheme.lower() == b"bearer"


def _identity(headers: dict[bytes, bytes]) -> str:
    """The client's own request id, if it is one, or a new one."""
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    # Ids are to be told apart, not to be secret: uuid4 asks the kernel each time, which takes longer than all the rest.
    return given if _ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
