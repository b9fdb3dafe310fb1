"""OpenTelemetry spans, kept in memory instead of sent."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.serving.server.conftest import Running, Start
from tests.serving.server.test_grpc import call, infer_request

from ftx_serving.server.tracing import Tracing

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    return InMemorySpanExporter()


@pytest.fixture
def server(start: Start, spans: InMemorySpanExporter) -> Running:
    running = start(grpc_port=0)
    running.service.tracing = Tracing(SimpleSpanProcessor(spans))
    return running


def split(spans: InMemorySpanExporter) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """The request's span, and those of its stages in the order in which they began."""
    [request] = [span for span in spans.get_finished_spans() if span.kind is SpanKind.SERVER]
    stages = [span for span in spans.get_finished_spans() if span is not request]
    return request, sorted(stages, key=lambda span: span.start_time or 0)


def test_a_request_has_a_span_below_the_clients_and_one_for_each_stage(
    server: Running, spans: InMemorySpanExporter
) -> None:
    assert server.post("/predict", {"inputs": ["a secret text", "good"]}, HEADERS).status == 200
    request, stages = split(spans)
    assert request.name == "POST /predict"
    assert request.parent is not None and f"{request.parent.span_id:016x}" == PARENT
    assert f"{request.context.trace_id:032x}" == TRACE
    assert (request.attributes or {})["ftx.texts"] == 2
    assert [span.name for span in stages] == ["queue", "tokenize", "queue", "batch", "compute"]
    for before, after in itertools.pairwise(stages):
        assert before.end_time == pytest.approx(after.start_time, abs=1000)
    for span in stages:
        assert span.parent is not None and span.parent.span_id == request.context.span_id
        assert request.start_time - 1000 <= span.start_time <= span.end_time <= request.end_time + 1000
    assert "secret" not in "".join(span.to_json() for span in spans.get_finished_spans())


def test_a_request_that_is_refused_has_a_failed_span(server: Running, spans: InMemorySpanExporter) -> None:
    assert server.post("/predict", {"inputs": ""}).status == 422
    request, stages = split(spans)
    assert request.parent is None and not stages
    assert request.status.status_code is StatusCode.ERROR and (request.attributes or {})["error.type"] == "empty"


def test_what_is_not_sampled_by_the_client_is_not_recorded(server: Running, spans: InMemorySpanExporter) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
    assert server.post("/predict", {"inputs": "good"}, headers).status == 200
    assert not spans.get_finished_spans()


def test_grpc_calls_have_the_same_spans(server: Running, spans: InMemorySpanExporter) -> None:
    request = infer_request("good")
    call(server, "ModelInfer", request, metadata=tuple(HEADERS.items()))
    found, stages = split(spans)
    assert found.parent is not None and f"{found.parent.span_id:016x}" == PARENT
    assert [span.name for span in stages] == ["queue", "tokenize", "queue", "batch", "compute"]


def test_nothing_of_telemetry_or_grpc_is_imported_unless_it_is_asked_for() -> None:
    code = "import sys, ftx_serving.command; print({'opentelemetry.sdk', 'grpc'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
