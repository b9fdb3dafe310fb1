"""The short way to the routes that answer texts.

FastAPI resolves dependencies, opens exit stacks and passes six layers of middleware for each request; the routes here
need none of that: they take the request, and read and write with msgspec. They are FastAPI's own routes all the same,
which documents them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]
OnError = Callable[[Request, Exception], Awaitable[Response]]


class Direct:
    """ASGI: requests for `endpoints` go straight there, all others to `app`."""

    def __init__(
        self,
        app: ASGIApp,
        routes: Iterable[BaseRoute],
        endpoints: Mapping[tuple[str, str], Endpoint],
        expected: Mapping[type[Exception], OnError],
        unexpected: OnError,
    ) -> None:
        """`endpoints` are by method and path, and among `routes`; `expected` are the errors' classes."""
        self._app = app
        places = {
            (method, each.path): each for each in routes if isinstance(each, Route) for method in each.methods or ()
        }
        self._endpoints = {place: (places[place], endpoint) for place, endpoint in endpoints.items()}
        self._expected = expected
        self._unexpected = unexpected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route"], endpoint = found
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except Exception as error:
            # As Starlette looks it up: the nearest class counts.
            answer = next((self._expected[kind] for kind in type(error).__mro__ if kind in self._expected), None)
            if answer is not None:
                response = await answer(request, error)
            else:
                await (await self._unexpected(request, error))(scope, receive, send)
                raise  # uvicorn writes its traceback into the log
        await response(scope, receive, send)
