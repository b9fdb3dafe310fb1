"""The Open Inference Protocol, by hand and with the clients that others use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from huggingface_hub import InferenceClient
from tests.serving.server.conftest import Running

from ftx_serving.predictor import Predictor

TEXTS = ["the car was good", "awful phone", "it is a table"]


def text_input(*texts: str, **changes: Any) -> dict[str, Any]:
    return {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts), **changes}


def test_the_triton_client_works_unchanged(server: Running, predictor: Predictor) -> None:
    client = triton.InferenceServerClient(server.address)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("tiny")
    assert client.get_server_metadata()["name"] == "ftx"
    metadata = client.get_model_metadata("tiny", "1")
    assert metadata["inputs"][0] == {"name": "text", "datatype": "BYTES", "shape": [-1]}
    assert [model["state"] for model in client.get_model_repository_index()] == ["READY"]
    tensor = triton.InferInput("text", [3], "BYTES")
    tensor.set_data_from_numpy(np.array([text.encode() for text in TEXTS], dtype=object), binary_data=False)
    result = client.infer("tiny", [tensor], request_id="seven")
    assert result.get_response()["id"] == "seven"
    expected = predictor.predict(TEXTS)
    assert result.as_numpy("label").tolist() == [row[0]["label"] for row in expected]
    assert result.as_numpy("scores").max(axis=1) == pytest.approx([row[0]["score"] for row in expected], abs=1e-6)
    client.close()


def test_the_triton_client_sends_tokens_and_gets_logits(server: Running, predictor: Predictor) -> None:
    feed = predictor.encoder.feed(predictor.encoder.encode(TEXTS))
    tensors = []
    for name, values in feed.items():
        tensor = triton.InferInput(name, list(values.shape), "INT64")
        tensor.set_data_from_numpy(values, binary_data=False)
        tensors.append(tensor)
    client = triton.InferenceServerClient(server.address)
    wanted = [triton.InferRequestedOutput("logits", binary_data=False)]
    logits = client.infer("tiny", tensors, model_version="1", outputs=wanted).as_numpy("logits")
    client.close()
    assert np.abs(logits - predictor.logits(TEXTS)).max() < 1e-5


def test_binary_tensors_are_refused_with_what_to_do(server: Running) -> None:
    tensor = triton.InferInput("text", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([b"good"], dtype=object))
    client = triton.InferenceServerClient(server.address)
    with pytest.raises(Exception, match="binary"):
        client.infer("tiny", [tensor])
    client.close()


def test_the_client_of_hugging_face_classifies(server: Running, predictor: Predictor) -> None:
    client = InferenceClient(model=f"http://{server.address}/", timeout=20)
    found = client.text_classification("awful phone", top_k=2)
    expected = predictor.predict(["awful phone"], top_k=2)[0]
    assert [(entry.label, pytest.approx(entry.score, abs=1e-6)) for entry in found] == [
        (entry["label"], entry["score"]) for entry in expected
    ]


@pytest.mark.parametrize(
    ("inputs", "kind"),
    [
        ([], "validation"),
        ([text_input()], "empty"),
        ([text_input("good", "")], "empty"),
        ([text_input("good", shape=[2])], "validation"),
        ([text_input("good", shape=[-1])], "validation"),
        ([text_input("good", shape=[1] * 9)], "validation"),
        ([text_input("good", datatype="FP32")], "validation"),
        ([text_input("good", data=[7])], "validation"),
        ([text_input("good", data=None)], "validation"),
        ([text_input("good"), text_input("good")], "validation"),
        ([text_input("good", name="other")], "validation"),
        ([{"name": "input_ids", "datatype": "INT64", "shape": [1, 2], "data": [2, 10**9]}], "validation"),
        ([{"name": "input_ids", "datatype": "INT64", "shape": [1, 2], "data": [2, -1]}], "validation"),
        ([{"name": "input_ids", "datatype": "INT64", "shape": [1, 2], "data": [2, True]}], "validation"),
        ([{"name": "input_ids", "datatype": "INT64", "shape": [1, 65], "data": [5] * 65}], "validation"),
        ([{"name": "input_ids", "datatype": "INT64", "shape": [2], "data": [2, 3]}], "validation"),
        ([{"name": "input_ids", "datatype": "INT64", "shape": [10**12, 2], "data": [2]}], "validation"),
    ],
)
def test_bad_tensors_are_422(server: Running, inputs: list[Any], kind: str) -> None:
    answer = server.post("/v2/models/tiny/infer", {"inputs": inputs})
    assert (answer.status, answer.json["error_type"]) == (422, kind)


def test_unknown_models_versions_and_outputs_are_errors(server: Running) -> None:
    body = {"inputs": [text_input("good")]}
    assert server.post("/v2/models/other/infer", body).status == 404
    assert server.post("/v2/models/tiny/versions/2/infer", body).status == 404
    assert server.get("/v2/models/other").status == 404
    assert server.post("/v2/models/tiny/infer", {**body, "outputs": [{"name": "x"}]}).status == 422


def test_an_output_is_asked_for_once(server: Running) -> None:
    body = {"inputs": [text_input("good")], "outputs": [{"name": "label"}, {"name": "label"}]}
    answer = server.post("/v2/models/tiny/infer", body)
    assert (answer.status, answer.json["error"]) == (422, "an output is asked for twice")


def test_columns_and_nested_data_are_taken(server: Running, predictor: Predictor) -> None:
    column = text_input(*TEXTS, shape=[3, 1], data=[[text] for text in TEXTS])
    answer = server.post("/v2/models/tiny/infer", {"inputs": [column], "outputs": [{"name": "label"}]}).json
    [output] = answer["outputs"]
    assert output["data"] == [row[0]["label"] for row in predictor.predict(TEXTS)]
