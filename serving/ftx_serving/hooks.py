"""The runtimes that need no torch, and the step that serves."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from ftx import Bundle, Runtime, Step, StepConfig, hookimpl
from ftx.tasks import TASKS


class ServeConfig(StepConfig):
    """`[serve]`; the flags of `ftx serve` have the same names, but for `grace_seconds`: it is `--grace`.

    `--replicas` is the command's alone: processes are forked from one that has computed nothing."""

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 is every one of this machine")
    port: int = Field(8000, ge=0, le=65535, description="Port; 0: any that is free")
    grpc_port: int | None = Field(
        None, ge=0, le=65535, description="Port of the Open Inference Protocol over gRPC; none: it is not spoken"
    )
    telemetry: bool = Field(False, description="Send OpenTelemetry spans to where OTEL_EXPORTER_OTLP_ENDPOINT says")
    name: str = Field("classifier", pattern=r"^[A-Za-z0-9._-]+$", description="Under which clients address the model")
    api_key_env: str | None = Field(None, description="Environment variable with the API key; none: none is asked for")
    variant: str | None = Field(None, description="Variant of the bundle; none: the one chosen here, or its first")
    runtime: str | None = Field(None, description="What executes it; none: the variant's own")
    workers: int | None = Field(None, ge=1, le=1024, description="Batches computed at a time; none: measured")
    threads: int | None = Field(None, ge=1, le=1024, description="Threads of one batch; none: measured")
    batch_tokens: int | None = Field(
        None, ge=1, le=1_000_000, description="Tokens of a batch, padding included; none: measured"
    )
    cache: int = Field(0, ge=0, le=10_000_000, description="Answers that are kept for equal texts")
    queue_seconds: float = Field(
        0.2, gt=0, le=3600, description="Predicted wait beyond which requests are refused, seconds"
    )
    max_texts: int = Field(1024, ge=1, le=1_000_000, description="Texts of a request")
    max_characters: int = Field(1_000_000, ge=1, le=1_000_000_000, description="Characters of a request")
    grace_seconds: float = Field(
        1.0, ge=0, le=3600, description="How long requests are still taken after SIGTERM, seconds"
    )


@hookimpl
def ftx_serve() -> Iterable[Step]:
    yield Step(
        name="http",
        stage="serve",
        summary="answer requests over HTTP with what the run has made, until SIGINT or SIGTERM, or through a load test",
        takes={"model": Bundle},
        gives=None,
        config=ServeConfig,
        run="ftx_serving.step:run",
        background="ftx_serving.background:start",
        requires=("numpy", "tokenizers", "fastapi", "uvicorn", "uvloop", "httptools", "msgspec", "prometheus_client"),
        default=True,
        cached=False,
        tasks=tuple(TASKS),
    )


@hookimpl
def ftx_runtimes() -> Iterable[Runtime]:
    yield Runtime(
        name="onnxruntime",
        summary="ONNX Runtime, on the processor or a CUDA GPU",
        load="ftx_serving.runtimes.onnxruntime:load",
        formats=("onnx",),
        devices=("cpu", "cuda"),
        requires=("onnxruntime",),
    )
    yield Runtime(
        name="openvino",
        summary="OpenVINO, on the processor",
        load="ftx_serving.runtimes.openvino:load",
        formats=("openvino",),
        requires=("openvino",),
    )
