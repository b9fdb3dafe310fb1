"""OpenTelemetry spans of requests and their stages. An extra: nothing imports this module unless it is asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ftx.plugins import own_version
from ftx_serving.engine.items import Timing
from ftx_serving.server.answering import Answered

Attributes = Mapping[str, str | int | bool]


@dataclass(frozen=True)
class _Stage:
    name: str
    start: float
    """By `time.monotonic`, as `end`."""
    end: float
    attributes: Attributes


class Tracing:
    """Where spans go: by OpenTelemetry's own environment variables (`OTEL_EXPORTER_OTLP_ENDPOINT`,
    `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME` …) over HTTP, or to `processor`."""

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        name = os.environ.get("OTEL_SERVICE_NAME") or "ftx"
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}), shutdown_on_exit=False)
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("ftx_serving", own_version())
        self._propagator = TraceContextTextMapPropagator()

    def answered(self, name: str, headers: Mapping[str, str], started: float, answered: Answered) -> None:
        """A request that began at `started`, by `time.monotonic`, was answered just now.

        `headers` may hold the client's `traceparent`.
        """
        deployment, answers = answered.deployment, answered.answers
        attributes: Attributes = {
            "ftx.model": deployment.name,
            "ftx.variant": deployment.variant.name,
            "ftx.texts": len(answers),
            "ftx.tokens": sum(answer.tokens for answer in answers),
            "ftx.cached": sum(answer.cached for answer in answers),
        }
        computed = [answer.timing for answer in answers if not answer.cached]
        stages = list(_stages(max(computed, key=_ready))) if computed else []
        self._record(name, headers, started, attributes, stages)

    def failed(self, name: str, headers: Mapping[str, str], started: float, error_type: str) -> None:
        """The same for one that was refused."""
        self._record(name, headers, started, {"error.type": error_type}, [], failed=True)

    def close(self) -> None:
        """Send what has not been sent."""
        self._provider.shutdown()

    def _record(
        self,
        name: str,
        headers: Mapping[str, str],
        start: float,
        attributes: Attributes,
        stages: list[_Stage],
        *,
        failed: bool = False,
    ) -> None:
        # Spans are in wall-clock time; what the engine keeps is not, so that it never runs backwards.
        end = time.monotonic()
        zero = time.time() - end
        parent: Context = self._propagator.extract(dict(headers))
        span = self._tracer.start_span(name, parent, SpanKind.SERVER, attributes, start_time=_nanoseconds(zero + start))
        if span.is_recording():
            within = set_span_in_context(span)
            for stage in stages:
                child = self._tracer.start_span(
                    stage.name, within, attributes=stage.attributes, start_time=_nanoseconds(zero + stage.start)
                )
                child.end(_nanoseconds(zero + stage.end))
            if failed:
                span.set_status(Status(StatusCode.ERROR))
        span.end(_nanoseconds(zero + end))


def _stages(timing: Timing) -> Iterator[_Stage]:
    """A text waits twice: for a tokenizer, and for a worker."""
    tokenized = timing.tokenize_started + timing.tokenize
    assembled = timing.batch_started + timing.batch
    batch = {"ftx.batch_size": timing.batch_size, "ftx.batch_tokens": timing.batch_tokens}
    yield _Stage("queue", timing.arrived, timing.tokenize_started, {"ftx.for": "tokenizer"})
    yield _Stage("tokenize", timing.tokenize_started, tokenized, {})
    yield _Stage("queue", tokenized, timing.batch_started, {"ftx.for": "worker"})
    yield _Stage("batch", timing.batch_started, assembled, {})
    yield _Stage("compute", assembled, assembled + timing.compute, batch)


def _ready(timing: Timing) -> float:
    return timing.batch_started + timing.batch + timing.compute


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
