"""`ftx serve` and the step `serve`: a server of bundles, until it is told to stop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ftx.artifacts import Bundle
from ftx.errors import FtxError
from ftx.plugins import PluginManager
from ftx_serving.engine.deployment import DeploySettings
from ftx_serving.server.app import Service
from ftx_serving.server.lifecycle import Replica, run, run_replica
from ftx_serving.server.logs import log_as_json
from ftx_serving.server.metrics import Metrics
from ftx_serving.server.models import Models
from ftx_serving.server.replicas import run_replicas
from ftx_serving.server.settings import ServerSettings

if TYPE_CHECKING:
    from ftx_serving.server.tracing import Tracing


def serve(
    bundles: Mapping[str, Callable[[], Bundle]],
    plugins: PluginManager,
    server: ServerSettings,
    deploy: DeploySettings,
    say: Callable[[str], None],
) -> None:
    """Serve the bundles, each under its name and the first one as the default, until SIGINT or SIGTERM.

    `bundles` finds each of them; it is asked again whenever a model is loaded anew. Raises `FtxError` where the port
    is taken, or a bundle must not serve.
    """
    if server.replicas == 1:
        run(_service(bundles, plugins, server, deploy, say), say)
        return

    def serve_one(settings: ServerSettings, replica: Replica, say: Callable[[str], None]) -> None:
        run_replica(_service(bundles, plugins, settings, deploy, say), replica, say)

    run_replicas(server, deploy.device, serve_one, say)


def _service(
    bundles: Mapping[str, Callable[[], Bundle]],
    plugins: PluginManager,
    server: ServerSettings,
    deploy: DeploySettings,
    say: Callable[[str], None],
) -> Service:
    log_as_json()
    metrics = Metrics()
    models = Models(
        bundles,
        plugins.runtimes(),
        deploy,
        drain_seconds=server.drain_seconds,
        on_batch=metrics.count_batch,
        say=say,
    )
    metrics.watch(models)
    return Service(models, server, metrics, tracing=_tracing() if server.telemetry else None)


def _tracing() -> Tracing:
    """Not imported unless it is asked for: OpenTelemetry is an extra."""
    try:
        from ftx_serving.server.tracing import Tracing
    except ImportError as error:
        raise FtxError(f"--telemetry needs {error.name}", "pip install 'ftx-toolchain[serve,telemetry]'") from None
    return Tracing()


def say_on_terminal(message: str) -> None:
    """To standard error, line by line: whoever starts the server waits for one of them."""
    print(message, file=sys.stderr, flush=True)
