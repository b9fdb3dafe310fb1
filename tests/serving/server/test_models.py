"""Several bundles on one port, and one that takes another's place; what Prometheus is told."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.serving.server.conftest import ONE_WORKER, Start

from ftx.artifacts import MANIFEST, Bundle, open_artifact
from ftx_serving.profile import LENGTH_BOUNDS

Copy = Callable[..., Bundle]


@pytest.fixture
def copy(tiny_bundle: Bundle, tmp_path: Path) -> Copy:
    """`copy(name, **meta)`: the tiny bundle in another folder, with these entries in its `meta`."""

    def make(name: str, **meta: object) -> Bundle:
        folder = shutil.copytree(tiny_bundle.path, tmp_path / name)
        manifest = replace(tiny_bundle.manifest, meta={**tiny_bundle.meta, "note": name, **meta})
        (folder / MANIFEST).unlink()
        (folder / MANIFEST).write_text(manifest.to_json())
        bundle = open_artifact(folder)
        assert isinstance(bundle, Bundle)
        return bundle

    return make


def test_several_models_answer_under_their_names_and_the_first_is_the_default(start: Start, copy: Copy) -> None:
    first, second = copy("first"), copy("second", labels=["minus", "zero", "plus"])
    server = start({"first": lambda: first, "second": lambda: second})
    body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["love great"]}]}
    labels = [
        server.post(f"/v2/models/{name}/infer", body).json["outputs"][0]["data"][0] for name in ("first", "second")
    ]
    assert labels[0] in first.meta["labels"] and labels[1] in ("minus", "zero", "plus")
    assert server.post("/predict?text=love%20great").json["label"] == labels[0]
    assert server.get("/info").json["models"] == ["first", "second"]


def test_a_new_bundle_takes_the_old_ones_place_under_load_without_an_error(start: Start, copy: Copy) -> None:
    bundles = [copy(f"version{n}") for n in range(3)]
    current = [bundles[0]]
    server = start({"tiny": lambda: current[0]})
    done = threading.Event()
    statuses: list[int] = []

    def keep_asking() -> None:
        n = 0
        while not done.is_set():
            n += 1
            statuses.append(server.post("/predict", {"inputs": f"good n{n}"}).status)

    askers = [threading.Thread(target=keep_asking) for _ in range(4)]
    for asker in askers:
        asker.start()
    for bundle in bundles[1:]:
        current[0] = bundle
        answer = server.post("/v2/repository/models/tiny/load")
        assert (answer.status, answer.json["model_sha"]) == (200, bundle.digest)
    done.set()
    for asker in askers:
        asker.join(20)
    assert len(statuses) > 4 and set(statuses) == {200}
    assert server.get("/info").json["model_sha"] == bundles[-1].digest


def test_a_bundle_that_fails_its_checks_leaves_the_old_one_serving(start: Start, copy: Copy) -> None:
    good, bad = copy("good"), copy("bad")
    with (bad.path / "golden.jsonl").open("a") as file:
        file.write("\n")
    current = [good]
    server = start({"tiny": lambda: current[0]})
    current[0] = bad
    answer = server.post("/v2/repository/models/tiny/load")
    assert answer.status == 400
    assert "golden.jsonl is not the file that was exported" in answer.json["error"]
    assert server.post("/predict", {"inputs": "good"}).status == 200
    assert server.get("/info").json["model_sha"] == good.digest
    assert server.post("/v2/repository/models/other/load").status == 404


def test_a_request_that_meets_a_new_bundle_is_held_to_that_ones_limits(
    start: Start, copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide, narrow = copy("wide"), copy("narrow", max_length=32)
    current = [wide]
    server = start({"tiny": lambda: current[0]})
    engine = server.service.models.find().engine
    submit = engine.submit

    def replaced_first(*arguments: Any) -> Any:
        current[0] = narrow
        server.service.models.load("tiny")
        return submit(*arguments)

    monkeypatch.setattr(engine, "submit", replaced_first)
    tokens = {"name": "input_ids", "datatype": "INT64", "shape": [1, 40], "data": [2] * 40}
    answer = server.post("/v2/models/tiny/infer", {"inputs": [tokens]})
    assert (answer.status, answer.json["error"]) == (422, "rows have 1 to 32 tokens")


def samples(text: str) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_metrics_count_traffic_batches_and_drift(start: Start, copy: Copy) -> None:
    shares = [0.0, 0.5, 1.0, *[1.0] * (len(LENGTH_BOUNDS) - 3)]
    profile = {"texts": 9, "label_shares": {"positive": 0.5}, "length_shares": shares, "unknown_token_rate": 0.01}
    bundle = copy("profiled", profile=profile)
    server = start({"tiny": lambda: bundle}, deploy=replace(ONE_WORKER, cache=10))
    server.post("/predict", {"inputs": ["love great good", "中 文 good"]})
    server.post("/predict", {"inputs": "love great good"})
    server.post("/predict", {"inputs": ""})
    server.get("/private-text-in-a-path")
    body = server.get("/metrics").body.decode()
    found = samples(body)
    assert found['ftx_requests_total{path="/predict",status="200"}'] == 2
    assert found['ftx_requests_total{path="other",status="404"}'] == 1
    assert found['ftx_errors_total{error_type="empty"}'] == 1
    assert sum(value for name, value in found.items() if name.startswith("ftx_predictions_total{")) == 3
    assert found['ftx_cache_hits_total{model="tiny"}'] == 1
    assert found['ftx_unknown_tokens_total{model="tiny"}'] == 2
    assert found['ftx_answered_tokens_total{model="tiny"}'] == 15
    assert found['ftx_tokens_total{model="tiny"}'] == 10
    assert found['ftx_text_tokens_bucket{le="8.0",model="tiny"}'] == 3
    assert found['ftx_best_score_count{model="tiny"}'] == 3
    assert found['ftx_queue_items{model="tiny"}'] == 0
    assert found['ftx_training_label_share{label="positive",model="tiny"}'] == 0.5
    assert found['ftx_training_text_tokens_share{le="8",model="tiny"}'] == 0.5
    assert found['ftx_training_unknown_token_rate{model="tiny"}'] == 0.01
    assert "private" not in body


def test_the_log_is_json_and_holds_no_text(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    import logging

    from ftx_serving.server.logs import NAMES, log_as_json

    before = {name: (logging.getLogger(name).handlers, logging.getLogger(name).propagate) for name in NAMES}
    try:
        log_as_json()
        server = start()
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        server.post("/predict?text=s3cret", headers={"x-request-id": "seven", "traceparent": trace})
        server.post("/predict", {"inputs": ["s3cret", ""]})
        output = ""
        deadline = time.monotonic() + 20
        while output.count("\n") < 2 and time.monotonic() < deadline:  # a line is written after its answer
            output += capfd.readouterr().err
    finally:
        for name, (handlers, propagate) in before.items():
            logging.getLogger(name).handlers, logging.getLogger(name).propagate = handlers, propagate
    first, second = [json.loads(line) for line in output.splitlines()]
    assert (first["path"], first["status"], first["request_id"]) == ("/predict", 200, "seven")
    assert first["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert (second["status"], second["level"]) == (422, "info")
    assert "s3cret" not in output
