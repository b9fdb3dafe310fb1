"""`ftx serve`, behind its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ftx import machine
from ftx.api_key import read_key
from ftx.artifacts import Bundle
from ftx.plugins import PluginManager
from ftx_serving.contract import Contract
from ftx_serving.engine.admission import Limits
from ftx_serving.engine.deployment import DeploySettings
from ftx_serving.serve import say_on_terminal, serve
from ftx_serving.server.settings import ServerSettings


def serve_references(
    found: Mapping[str, Callable[[], Bundle]], plugins: PluginManager, flags: Mapping[str, Any]
) -> None:
    """Serve what `found` finds; `flags` are the options by their names."""
    server = ServerSettings(
        host=flags["host"],
        port=flags["port"],
        grpc_port=flags["grpc_port"],
        replicas=flags["replicas"],
        telemetry=flags["telemetry"],
        api_key=read_key(flags["api_key_env"]),
        open_metrics=not flags["closed_metrics"],
        max_body=flags["max_body"],
        grace_seconds=flags["grace"],
        drain_seconds=flags["drain"],
    )
    device = flags["device"]
    if device == "auto":
        runs = machine.has_cuda() and _runs_on_cuda(found, plugins, flags["variant"], flags["runtime"])
        device = "cuda" if runs else "cpu"
    deploy = DeploySettings(
        variant=flags["variant"],
        runtime=flags["runtime"],
        device=device,
        workers=flags["workers"],
        threads=flags["threads"],
        batch_tokens=flags["batch_tokens"],
        tokenizers=flags["tokenizers"],
        cache=flags["cache"],
        limits=Limits(flags["max_texts"], flags["max_characters"], flags["queue_seconds"]),
    )
    serve(found, plugins, server, deploy, say_on_terminal)


def _runs_on_cuda(
    found: Mapping[str, Callable[[], Bundle]], plugins: PluginManager, variant: str | None, runtime: str | None
) -> bool:
    """Whether an ONNX Runtime built for GPUs is installed, and the variant and runtime that were named can be its."""
    if runtime not in (None, "onnxruntime") or "onnxruntime" not in plugins.runtimes():
        return False
    if variant is not None and not all(_is_meant_for_cuda(find(), variant) for find in found.values()):
        return False
    try:
        import onnxruntime
    except ImportError:
        return False
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _is_meant_for_cuda(bundle: Bundle, variant: str) -> bool:
    return any(each.name == variant and "cuda" in each.devices for each in Contract.from_meta(bundle.meta).variants)
