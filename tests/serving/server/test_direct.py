"""The short way past FastAPI: to a client, to the counters and to the log it is as FastAPI's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import fastapi
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from tests.serving.server.conftest import Running

from ftx_serving.engine.refusal import Reason, Refused
from ftx_serving.server import forms
from ftx_serving.server.direct import Direct


def sample(running: Running, name: str, **labels: str) -> float:
    return running.service.metrics.registry.get_sample_value(name, labels) or 0.0


def assert_becomes(running: Running, expected: float, name: str, **labels: str) -> None:
    """A request is counted only after its answer was sent."""
    assert wait_for(lambda: sample(running, name, **labels), expected) == expected


def wait_for(find: Callable[[], Any], expected: Any) -> Any:
    """What is found once it is as expected, or after some seconds."""
    deadline = time.monotonic() + 5
    while (found := find()) != expected and time.monotonic() < deadline:
        time.sleep(0.005)
    return found


def fail_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(forms, "understand", fail)


@pytest.mark.parametrize("path", ["/predict", "/"])
def test_a_bug_is_told_counted_and_logged_without_its_message(
    path: str, server: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fail_with(monkeypatch, KeyError("s3cret"))
    before = sample(server, "ftx_errors_total", error_type="internal")
    answer = server.post(path, {"inputs": "good"})
    assert (answer.status, answer.headers["content-type"]) == (500, "application/json")
    assert answer.json == {
        "error": "a bug of ftx: KeyError; the log has its traceback",
        "error_type": "internal",
    }
    assert sample(server, "ftx_errors_total", error_type="internal") == before + 1
    assert_becomes(server, 1, "ftx_requests_total", path=path, status="500")
    assert wait_for(lambda: [record.exc_info[0] for record in caplog.records if record.exc_info], [KeyError]) == [
        KeyError
    ]


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (Refused(Reason.OVERLOADED, "later", retry_after=0.2), 429, "overloaded"),
        (fastapi.HTTPException(418, "no coffee"), 418, "validation"),  # a subclass of the error that is expected
    ],
)
def test_an_expected_error_is_counted_once_under_the_routes_path(
    error: Exception, status: int, kind: str, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, error)
    internal = sample(server, "ftx_errors_total", error_type="internal")
    answer = server.post("/predict?x=1", {"inputs": "good"})
    assert (answer.status, answer.json["error_type"]) == (status, kind)
    assert_becomes(server, 1, "ftx_requests_total", path="/predict", status=str(status))
    assert sample(server, "ftx_errors_total", error_type=kind) == 1
    assert sample(server, "ftx_errors_total", error_type="internal") == internal


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "GET"])
def test_another_method_gets_405_with_the_one_that_is_allowed(method: str, server: Running) -> None:
    before = sample(server, "ftx_requests_total", path="/predict", status="405")
    answer = server.request(method, "/predict")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert_becomes(server, before + 1, "ftx_requests_total", path="/predict", status="405")


async def call(endpoint: Any) -> tuple[list[Message], list[Exception], Exception | None]:
    """What is sent, the errors taken for bugs, and what is raised, of one request whose endpoint this is."""
    app = FastAPI()
    app.post("/x")(endpoint)
    sent: list[Message] = []
    bugs: list[Exception] = []

    async def unexpected(request: Request, error: Exception) -> Response:
        bugs.append(error)
        return Response(status_code=500)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/x", "headers": [], "query_string": b""}
    direct = Direct(app, app.routes, {("POST", "/x"): endpoint}, {}, unexpected)
    try:
        await direct(scope, receive, send)
    except Exception as error:
        return sent, bugs, error
    return sent, bugs, None


def test_an_error_after_the_answer_began_is_raised_and_no_second_answer_begins() -> None:
    error = KeyError("within")

    class Broken(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise error

    async def endpoint(request: Request) -> Response:
        return Broken()

    sent, bugs, raised = asyncio.run(call(endpoint))
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert bugs == [] and raised is error


def test_a_bug_is_answered_and_raised_for_the_log() -> None:
    async def endpoint(request: Request) -> Response:
        raise KeyError("within")

    sent, bugs, raised = asyncio.run(call(endpoint))
    assert sent[0]["status"] == 500 and len(bugs) == 1 and bugs[0] is raised
