"""`POST /predict`, `POST /`, and what surrounds them."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from tests.serving.server.conftest import ONE_WORKER, Running, Start

from ftx.testing.tiny import sentences
from ftx_serving.engine.admission import Limits
from ftx_serving.predictor import Predictor

TEXTS = [text for text, _ in sentences(24, seed=5)]


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [entry["label"] for entry in found] == [entry["label"] for entry in expected]
    assert [entry["score"] for entry in found] == pytest.approx([entry["score"] for entry in expected], abs=1e-6)


def test_a_text_gets_the_predictors_labels_and_scores(server: Running, predictor: Predictor) -> None:
    answer = server.post("/predict", {"inputs": "the car was good"})
    assert answer.status == 200
    assert_same(answer.json, predictor.predict(["the car was good"])[0])


def test_many_clients_at_once_get_what_the_predictor_says_of_each_text(server: Running, predictor: Predictor) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda text: server.post("/predict", {"inputs": text}).json, TEXTS))
    for found, expected in zip(answers, predictor.predict(TEXTS), strict=True):
        assert_same(found, expected)


@pytest.mark.parametrize("form", [["good", "bad"], [["good"], ["bad"]]])
def test_a_list_is_answered_with_a_list(server: Running, predictor: Predictor, form: list[Any]) -> None:
    answer = server.post("/predict", {"inputs": form}).json
    for found, expected in zip(answer, predictor.predict(["good", "bad"]), strict=True):
        assert_same(found, expected)


def test_options_shape_the_answer(server: Running, predictor: Predictor) -> None:
    logits = np.sort(predictor.logits(["good"])[0])[::-1]
    raw = server.post("/predict", {"inputs": "good", "raw_scores": True}).json
    assert [entry["score"] for entry in raw] == pytest.approx(logits.tolist(), abs=1e-5)
    assert len(server.post("/predict", {"inputs": "good", "top_k": 2}).json) == 2
    [above] = server.post("/predict", {"inputs": "good", "function_to_apply": "none", "parameters": {"top_k": 1}}).json
    assert above["score"] == pytest.approx(logits[0], abs=1e-5)
    [nested] = server.post("/", {"inputs": "good", "parameters": {"top_k": 1, "function_to_apply": "none"}}).json
    assert [entry["score"] for entry in nested] == pytest.approx([logits[0]], abs=1e-5)
    [sigmoid] = server.post("/", {"inputs": "good", "parameters": {"function_to_apply": "sigmoid"}}).json
    temperature = predictor.variant.temperature
    assert sigmoid[0]["score"] == pytest.approx(1 / (1 + np.exp(-logits[0] / temperature)), abs=1e-6)


def test_the_query_form_answers_the_best_label(server: Running, predictor: Predictor) -> None:
    answer = server.post("/predict?text=love%20great").json
    best = predictor.predict(["love great"])[0][0]
    assert answer["label"] == best["label"]
    assert answer["score"] == pytest.approx(best["score"], abs=1e-6)
    assert predictor.labels[answer["id"]] == best["label"]


def test_a_long_text_is_cut_unless_the_client_forbids_it(server: Running) -> None:
    long = "hate " * 200 + "love " * 200
    right = server.post("/predict", {"inputs": long}).json[0]["label"]
    left = server.post("/predict", {"inputs": long, "truncation_direction": "Left"}).json[0]["label"]
    assert (right, left) != (left, right)
    refused = server.post("/predict", {"inputs": [long, "good"], "truncate": False})
    assert (refused.status, refused.json["error"]) == (422, "text 0 is longer than 64 tokens")
    assert server.post("/predict", {"inputs": "good", "truncate": False}).status == 200


def test_times_and_batches_are_in_the_headers(server: Running) -> None:
    headers = server.post("/predict", {"inputs": ["good", "bad"]}, {"x-request-id": "abc-1"}).headers
    stages = dict(part.split(";dur=") for part in headers["server-timing"].split(", "))
    assert set(stages) == {"queue", "tokenize", "batch", "compute", "total"}
    assert float(stages["total"]) >= float(stages["compute"]) > 0
    assert headers["x-compute-tokens"] == "6"
    assert headers["x-request-id"] == "abc-1"
    assert len(server.get("/health", {"x-request-id": "bad id\t!"}).headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"inputs": ""}, 422, "empty"),
        ({"inputs": []}, 422, "empty"),
        ({"inputs": ["good", ""]}, 422, "empty"),
        ({}, 422, "empty"),
        ({"inputs": 7}, 422, "validation"),
        ({"inputs": [["good", "bad"]]}, 422, "validation"),
        ({"inputs": "good", "top_k": 0}, 422, "validation"),
        ({"inputs": "good", "truncation_direction": "up"}, 422, "validation"),
        ([1], 422, "validation"),
        (b"", 400, "validation"),
        (b"{", 400, "validation"),
        (b'{"inputs": "\xff"}', 400, "validation"),
        (b"[" * 50_000, 422, "validation"),
        (b'{"inputs": ' + b"[" * 50_000, 422, "validation"),
        (b'{"x": ' + b"[" * 50_000, 400, "validation"),
        ({"inputs": ["a"] * 2000}, 413, "too_large"),
        ({"inputs": "a" * 1_500_000}, 413, "too_large"),
        (b" " * 5_000_000, 413, "too_large"),
    ],
)
def test_bad_requests_are_clear_errors(server: Running, body: Any, status: int, kind: str) -> None:
    answer = server.post("/predict", body)
    assert (answer.status, answer.json["error_type"]) == (status, kind)
    assert len(answer.json["error"]) < 300
    assert server.post("/predict", {"inputs": "good"}).status == 200


def test_errors_never_repeat_the_text(server: Running) -> None:
    for body in ({"inputs": {"secret": "s3cret"}}, {"inputs": "x", "truncation_direction": "s3cret"}):
        assert "s3cret" not in server.post("/predict", body).body.decode()


def test_unknown_paths_and_methods_are_json_errors(server: Running) -> None:
    assert (server.get("/nowhere").status, server.get("/nowhere").json["error_type"]) == (404, "not_found")
    assert server.get("/predict").status == 405


def test_info_and_documentation_describe_the_model(server: Running, predictor: Predictor) -> None:
    info = server.get("/info").json
    assert info["served_model_name"] == "tiny"
    assert info["model_type"]["classifier"]["id2label"] == {str(n): name for n, name in enumerate(predictor.labels)}
    assert info["max_input_length"] == 64
    paths = server.get("/openapi.json").json["paths"]
    assert {"/predict", "/", "/info", "/health", "/metrics", "/v2/models/{name}/infer"} <= set(paths)
    assert server.get("/docs").status == 200


def test_a_deadline_that_cannot_be_met_is_429_and_nonsense_is_422(start: Start) -> None:
    server = start(deploy=replace(ONE_WORKER, limits=Limits(queue_seconds=10)))
    deployment = server.service.models.find()
    deployment.engine._load.tokens_per_second = 0.1
    refused = server.post("/predict", {"inputs": "good"}, {"x-request-timeout-ms": "50"})
    assert (refused.status, refused.json["error_type"]) == (429, "overloaded")
    assert server.post("/predict", {"inputs": "good"}, {"x-request-timeout-ms": "soon"}).status == 422


@dataclass
class Held:
    server: Running
    busy: threading.Event
    free: threading.Event


@pytest.fixture
def held(start: Start) -> Iterator[Held]:
    """A server whose worker waits, once it is `busy`, until `free`."""
    server = start(deploy=replace(ONE_WORKER, limits=Limits(queue_seconds=1e-9)))
    engine = server.service.models.find().engine
    busy, free = threading.Event(), threading.Event()
    feed = engine._encoder.feed

    def wait_and_feed(*arguments: Any, **named: Any) -> Any:
        busy.set()
        assert free.wait(60)
        return feed(*arguments, **named)

    engine._encoder.feed = wait_and_feed  # type: ignore[method-assign]
    yield Held(server, busy, free)
    free.set()


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def test_overload_is_429_with_the_time_to_wait(held: Held) -> None:
    server = held.server
    engine = server.service.models.find().engine
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.post, "/predict", {"inputs": "good"})
        assert held.busy.wait(20)
        engine._load.tokens_per_second = engine._load.tokens / 3.5
        refused = server.post("/predict", {"inputs": "bad"})
        held.free.set()
        assert first.result(20).status == 200
    assert (refused.status, refused.json["error_type"]) == (429, "overloaded")
    assert refused.headers["retry-after"] == "4"


def test_a_client_that_goes_is_dropped_from_the_queue(held: Held) -> None:
    server = held.server
    engine = server.service.models.find().engine
    engine._load.tokens_per_second = 1e12
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.post, "/predict", {"inputs": "table"})
        assert held.busy.wait(20)
        body = json.dumps({"inputs": "good"}).encode()
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            wait_until(lambda: len(engine._pending) == 1)
        [waiting] = list(engine._pending._items)
        wait_until(lambda: waiting.given_up)
        held.free.set()
        assert first.result(20).status == 200
    wait_until(lambda: engine.queued()[0] == 0)


def test_a_dead_worker_turns_live_and_ready_to_503(start: Start) -> None:
    server = start()
    engine = server.service.models.find().engine

    def die(*arguments: Any, **named: Any) -> Any:
        raise SystemExit("an injected fault")

    engine._encoder.feed = die  # type: ignore[method-assign]
    assert server.get("/v2/health/live").status == 200
    answer = server.post("/predict", {"inputs": "good"})
    assert (answer.status, answer.json["error_type"]) == (503, "unhealthy")
    for path in ("/v2/health/live", "/v2/health/ready", "/health"):
        assert server.get(path).status == 503
        assert "worker 0 died: SystemExit" in server.get(path).json["error"]


def test_before_the_bundle_is_checked_the_server_is_live_and_not_ready(start: Start) -> None:
    server = start(load=False)
    assert server.get("/v2/health/live").status == 200
    assert server.get("/v2/health/ready").status == 503
    assert server.post("/predict", {"inputs": "good"}).status == 503
    server.service.models.load_all()
    assert server.get("/health").status == 200


def test_with_a_key_only_who_has_it_is_answered(start: Start) -> None:
    server = start(api_key="k3y")
    body = {"inputs": "good"}
    assert server.post("/predict", body, {"authorization": "Bearer k3y"}).status == 200
    for headers in ({}, {"authorization": "Bearer other"}, {"authorization": "k3y"}, {"authorization": "Basic k3y"}):
        refused = server.post("/predict", body, headers)
        assert (refused.status, refused.json["error_type"]) == (401, "unauthorized")
    assert server.get("/health").status == 200
    assert server.get("/info").status == 401
    assert start(api_key="k3y", open_metrics=False).get("/metrics").status == 401


def test_slow_and_endless_heads_are_cut_while_others_are_served(start: Start) -> None:
    server = start(header_seconds=0.2, max_header=2000, body_seconds=0.3)
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as silent,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as slow,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as endless,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as bodiless,
    ):
        slow.sendall(b"POST /predict HTTP/1.1\r\nhost:")
        endless.sendall(b"GET /health HTTP/1.1\r\n" + b"a: " + b"x" * 3000)
        bodiless.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n")
        assert server.post("/predict", {"inputs": "good"}).status == 200
        assert endless.recv(1000).startswith(b"HTTP/1.1 400")
        assert (silent.recv(1000), slow.recv(1000)) == (b"", b"")
        assert bodiless.recv(1000).startswith(b"HTTP/1.1 408")
