"""The step `serve`: the last of a run, which serves what the run has made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftx.api_key import read_key
from ftx.artifacts import Artifact, Bundle
from ftx.step import Context
from ftx_serving.engine.admission import Limits
from ftx_serving.engine.deployment import DeploySettings
from ftx_serving.hooks import ServeConfig
from ftx_serving.serve import say_on_terminal, serve
from ftx_serving.server.settings import ServerSettings


def run(config: ServeConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Serve until SIGINT or SIGTERM, and then end as a step that is done."""
    bundle = inputs["model"]
    assert isinstance(bundle, Bundle)

    def say(message: str) -> None:
        context.log(message)
        say_on_terminal(message)

    serve(
        {config.name: lambda: bundle},
        context.plugins,
        ServerSettings(
            host=config.host,
            port=config.port,
            grpc_port=config.grpc_port,
            telemetry=config.telemetry,
            api_key=read_key(config.api_key_env),
            grace_seconds=config.grace_seconds,
        ),
        DeploySettings(
            variant=config.variant,
            runtime=config.runtime,
            device=context.device,
            workers=config.workers,
            threads=config.threads,
            batch_tokens=config.batch_tokens,
            cache=config.cache,
            limits=Limits(config.max_texts, config.max_characters, config.queue_seconds),
        ),
        say,
    )
    return {}
