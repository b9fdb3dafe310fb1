"""A server answers a tagger's texts with entities, as the predictor does, whatever they share a batch with."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.serving.server.conftest import ONE_WORKER, Running, start_server

from ftx.artifacts import Artifact, Bundle
from ftx.plugins import PluginManager
from ftx_serving.predictor import Predictor

TEXTS = ["the good happy car was bad", "  it is awful sad today", "this is a table", "bad " * 30, "very good it"]


@pytest.fixture(scope="module")
def server(bundle: Artifact) -> Iterator[Running]:
    assert isinstance(bundle, Bundle)
    running, stop = start_server({"tagger": lambda: bundle}, PluginManager.load(third_party=False).runtimes())
    yield running
    stop()


@pytest.fixture(scope="module")
def predictor(bundle: Artifact) -> Predictor:
    runtimes = PluginManager.load(third_party=False).runtimes()
    return Predictor.load(bundle.path, runtimes=runtimes, variant=ONE_WORKER.variant)


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [list(entity) for entity in found] == [["label", "score", "start", "end", "text"]] * len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert {**mine, "score": 0} == {**theirs, "score": 0}
        assert mine["score"] == pytest.approx(theirs["score"], abs=1e-5)


def test_a_text_gets_its_entities_in_order_and_a_list_gets_lists(server: Running, predictor: Predictor) -> None:
    alone = server.post("/predict", {"inputs": TEXTS[0]})
    assert alone.status == 200
    assert [entity["text"] for entity in alone.json] == ["good happy", "bad"]
    assert_same(alone.json, predictor.predict([TEXTS[0]])[0])
    together = server.post("/predict", {"inputs": TEXTS}).json
    for found, expected in zip(together, predictor.predict(TEXTS), strict=True):
        assert_same(found, expected)
    assert together[2] == []
    [nested] = server.post("/", {"inputs": TEXTS[0]}).json
    assert_same(nested, alone.json)
    assert_same(server.post("/predict?text=the%20good%20happy%20car%20was%20bad").json, alone.json)


def test_many_clients_at_once_get_their_own_entities(server: Running, predictor: Predictor) -> None:
    texts = [f"{'the ' * n}good happy n{n}" for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda text: server.post("/predict", {"inputs": text}).json, texts))
    for text, found, expected in zip(texts, answers, predictor.predict(texts), strict=True):
        assert_same(found, expected)
        assert all(text[entity["start"] : entity["end"]] == entity["text"] for entity in found)


def test_an_answer_from_the_cache_is_the_same(server: Running) -> None:
    text = {"inputs": "the good happy phone"}
    assert server.post("/predict", text).json == server.post("/predict", text).json != []


def test_the_surest_entities_can_be_asked_for_and_raw_scores_cannot(server: Running) -> None:
    [best] = server.post("/predict", {"inputs": TEXTS[0], "top_k": 1}).json
    assert best["text"] in ("good happy", "bad")
    refused = server.post("/predict", {"inputs": TEXTS[0], "raw_scores": True})
    assert refused.status == 422 and "there are no raw ones" in refused.json["error"]


def test_tensors_are_refused_with_the_way_to_go(server: Running) -> None:
    body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["good"]}]}
    refused = server.post("/v2/models/tagger/infer", body)
    assert refused.status == 422 and "POST /predict answers them" in refused.json["error"]


def test_metrics_count_entities_by_type(server: Running) -> None:
    before = server.get("/metrics").body.decode()
    server.post("/predict", {"inputs": "the good happy zebra was bad"})
    after = server.get("/metrics").body.decode()
    count = 'ftx_predictions_total{label="BAD",model="tagger"}'

    def value(text: str) -> float:
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(count)), 0.0)

    assert value(after) == value(before) + 1
    assert 'ftx_training_label_share{label="GOOD",model="tagger"}' in after


def test_the_model_says_its_task(server: Running) -> None:
    assert server.get("/info").json["task"] == "token-classification"
