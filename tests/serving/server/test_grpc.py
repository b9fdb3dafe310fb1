"""The Open Inference Protocol over gRPC, with the client that others use."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tests.serving.server.conftest import ONE_WORKER, Running, Start, start_server
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from ftx.artifacts import Bundle
from ftx.step import Runtime
from ftx_serving.predictor import Predictor
from ftx_serving.server import open_inference
from ftx_serving.server.grpc_messages import MESSAGES, SERVICE

TEXTS = ["the car was good", "awful phone", "it is a table"]


@pytest.fixture(scope="module")
def server(tiny_bundle: Bundle, runtimes: Mapping[str, Runtime]) -> Iterator[Running]:
    running, stop = start_server({"tiny": lambda: tiny_bundle}, runtimes, grpc_port=0)
    yield running
    stop()


@pytest.fixture
def client(server: Running) -> Iterator[triton.InferenceServerClient]:
    client = connect(server)
    yield client
    client.close()


def connect(running: Running) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(f"127.0.0.1:{running.grpc_port}")


def text_input(texts: list[bytes]) -> triton.InferInput:
    tensor = triton.InferInput("text", [len(texts)], "BYTES")
    tensor.set_data_from_numpy(np.array(texts, dtype=object))
    return tensor


def test_the_messages_are_those_of_the_protocol() -> None:
    for path, message in MESSAGES.items():
        expected = service_pb2
        for name in path.split("."):
            expected = getattr(expected, name)
        theirs = {field.name: field for field in expected.DESCRIPTOR.fields}
        for field in message.DESCRIPTOR.fields:
            other = theirs[field.name]
            assert (field.number, field.type, field.is_repeated) == (other.number, other.type, other.is_repeated), path


def test_the_triton_client_works_unchanged(client: triton.InferenceServerClient, predictor: Predictor) -> None:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("tiny")
    assert client.get_server_metadata().name == "ftx"
    metadata = client.get_model_metadata("tiny", "1")
    assert (metadata.inputs[0].name, metadata.inputs[0].datatype, list(metadata.inputs[0].shape)) == (
        "text",
        "BYTES",
        [-1],
    )
    result = client.infer("tiny", [text_input([text.encode() for text in TEXTS])], request_id="seven")
    assert result.get_response().id == "seven"
    expected = predictor.predict(TEXTS)
    assert [label.decode() for label in result.as_numpy("label")] == [row[0]["label"] for row in expected]
    assert result.as_numpy("scores").max(axis=1) == pytest.approx([row[0]["score"] for row in expected], abs=1e-6)


def test_tokens_are_answered_with_logits(client: triton.InferenceServerClient, predictor: Predictor) -> None:
    tensors = []
    for name, values in predictor.encoder.feed(predictor.encoder.encode(TEXTS)).items():
        tensor = triton.InferInput(name, list(values.shape), "INT64")
        tensor.set_data_from_numpy(values)
        tensors.append(tensor)
    logits = client.infer("tiny", tensors, outputs=[triton.InferRequestedOutput("logits")]).as_numpy("logits")
    assert np.abs(logits - predictor.logits(TEXTS)).max() < 1e-5


def test_typed_contents_are_answered_in_kind(server: Running, predictor: Predictor) -> None:
    request = MESSAGES["ModelInferRequest"](model_name="tiny")
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(b"love great")
    response = call(server, "ModelInfer", request)
    assert not response.raw_output_contents
    assert response.outputs[0].contents.bytes_contents[0].decode() == predictor.predict(["love great"])[0][0]["label"]


def call(running: Running, method: str, request: Any, **options: Any) -> Any:
    with grpc.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel:
        return channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=MESSAGES[f"{method}Request"].SerializeToString,
            response_deserializer=MESSAGES[f"{method}Response"].FromString,
        )(request, timeout=20, **options)


def test_what_cannot_be_answered_has_the_protocols_code(client: triton.InferenceServerClient) -> None:
    good = text_input([b"good"])
    wrong = triton.InferInput("text", [1], "INT64")
    wrong.set_data_from_numpy(np.array([1], dtype=np.int64))
    for code, name, version, tensor, says in (
        ("NOT_FOUND", "other", "", good, "no such model"),
        ("NOT_FOUND", "tiny", "2", good, "no such version"),
        ("INVALID_ARGUMENT", "tiny", "", text_input([b"\xff"]), "not in UTF-8"),
        ("INVALID_ARGUMENT", "tiny", "", text_input([b""]), "is empty"),
        ("INVALID_ARGUMENT", "tiny", "", wrong, "not BYTES"),
    ):
        with pytest.raises(InferenceServerException, match=says) as refused:
            client.infer(name, [tensor], model_version=version)
        assert refused.value.status() == f"StatusCode.{code}"


@pytest.mark.parametrize("raw", [b"\x09\x00\x00\x00good", b"\x04\x00", b"\xff\xff\xff\xffgood"])
def test_raw_data_that_ends_within_a_text_is_refused(server: Running, raw: bytes) -> None:
    request = MESSAGES["ModelInferRequest"](model_name="tiny", raw_input_contents=[raw])
    request.inputs.add(name="text", datatype="BYTES", shape=[1])
    with pytest.raises(grpc.RpcError) as refused:
        call(server, "ModelInfer", request)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_api_key_is_asked_for(start: Start) -> None:
    running = start(grpc_port=0, api_key="secret")
    request = MESSAGES["ModelReadyRequest"](name="tiny")
    for metadata in ((), (("authorization", "Bearer wrong"),)):
        with pytest.raises(grpc.RpcError) as refused:
            call(running, "ModelReady", request, metadata=metadata)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert call(running, "ModelReady", request, metadata=(("authorization", "Bearer secret"),)).ready
    assert call(running, "ServerReady", MESSAGES["ServerReadyRequest"]()).ready


def test_a_bug_is_told_counted_and_logged_without_its_message(
    server: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("s3cret")

    monkeypatch.setattr(open_inference, "understand", fail)
    before = count_bugs(server)
    with pytest.raises(grpc.RpcError) as failed:
        call(server, "ModelInfer", infer_request("good"))
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert failed.value.details() == "a bug of ftx: KeyError; the log has its traceback"
    assert count_bugs(server) == before + 1
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [KeyError]


def count_bugs(running: Running) -> float:
    return running.service.metrics.registry.get_sample_value("ftx_errors_total", {"error_type": "internal"}) or 0.0


def test_grpc_and_http_share_what_waits(start: Start) -> None:
    running = start(grpc_port=0, deploy=ONE_WORKER)
    running.service.models.find().engine.refuse_new("full")
    with pytest.raises(grpc.RpcError) as refused:
        call(running, "ModelInfer", infer_request("good"))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert running.post("/predict", {"inputs": "good"}).status == 503


def infer_request(text: str) -> Any:
    request = MESSAGES["ModelInferRequest"](model_name="tiny")
    request.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(text.encode())
    return request


def test_a_call_past_its_deadline_is_told_so_and_others_are_answered(start: Start) -> None:
    running = start(grpc_port=0)
    engine = running.service.models.find().engine
    held = threading.Event()
    taken = threading.Event()
    compute = engine._sessions[0]

    def slow(**feed: Any) -> Any:
        taken.set()
        held.wait(20)
        return compute(**feed)

    engine.stop()
    engine._sessions[0] = slow
    engine._stopped, engine._refusing = False, None
    engine.start()
    with grpc.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel:
        method = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=MESSAGES["ModelInferRequest"].SerializeToString,
            response_deserializer=MESSAGES["ModelInferResponse"].FromString,
        )
        first = method.future(infer_request("good"))
        assert taken.wait(20)
        second = method.future(infer_request("bad"), timeout=0.2)
        with pytest.raises(grpc.RpcError) as late:
            second.result()
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        held.set()
        assert first.result().outputs
    assert engine.wait_until_empty(20)
