"""A real server on a real socket, in a thread of the tests' process."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from ftx.artifacts import Bundle
from ftx.step import Runtime
from ftx_serving.engine.deployment import DeploySettings
from ftx_serving.server.app import Service
from ftx_serving.server.lifecycle import _config, _grpc_server, _Server, bind
from ftx_serving.server.metrics import Metrics
from ftx_serving.server.models import Models
from ftx_serving.server.settings import ServerSettings


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    service: Service
    port: int
    grpc_port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request on a connection of its own; a body that is not bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, content, dict(headers or {}))
        response = connection.getresponse()
        found = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        connection.close()
        return found

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("POST", path, body, headers)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers=headers)


Start = Callable[..., Running]
ONE_WORKER = DeploySettings(variant="onnx-fp32", workers=1, threads=1, batch_tokens=512)


def start_server(
    bundles: Mapping[str, Callable[[], Bundle]],
    runtimes: Mapping[str, Runtime],
    deploy: DeploySettings = ONE_WORKER,
    load: bool = True,
    **settings: Any,
) -> tuple[Running, Callable[[], None]]:
    """The server, and what stops it."""
    metrics = Metrics()
    models = Models(bundles, runtimes, deploy, on_batch=metrics.count_batch)
    metrics.watch(models)
    service = Service(models, ServerSettings(port=0, drain_seconds=5, **settings), metrics)
    if load:
        models.load_all()
    listener = bind(service.settings)
    port = listener.getsockname()[1]
    server = _Server(_config(service))
    running = Running(service, port)

    async def serve() -> None:
        grpc_server = None if service.settings.grpc_port is None else _grpc_server(service)
        if grpc_server is not None:
            running.grpc_port = grpc_server.port
            await grpc_server.start()
        await server.serve(sockets=[listener])
        if grpc_server is not None:
            await grpc_server.stop(0)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)

    def stop() -> None:
        server.should_exit = True
        thread.join(20)
        models.stop()

    return running, stop


@pytest.fixture(scope="module")
def server(tiny_bundle: Bundle, runtimes: Mapping[str, Runtime]) -> Iterator[Running]:
    """One bundle with the defaults, shared by a module's tests, which leave it as it is."""
    running, stop = start_server({"tiny": lambda: tiny_bundle}, runtimes)
    yield running
    stop()


@pytest.fixture
def start(tiny_bundle: Bundle, runtimes: Mapping[str, Runtime]) -> Iterator[Start]:
    """`start(bundles, deploy, **settings)`: a server of one's own."""
    stops: list[Callable[[], None]] = []

    def begin(bundles: Mapping[str, Callable[[], Bundle]] | None = None, **settings: Any) -> Running:
        running, stop = start_server(bundles or {"tiny": lambda: tiny_bundle}, runtimes, **settings)
        stops.append(stop)
        return running

    yield begin
    for stop in stops:
        stop()
