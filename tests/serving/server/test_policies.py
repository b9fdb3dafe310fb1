"""What the bundle decides: long texts, doubtful answers, several labels. The server and `ftx predict` agree."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serving.server.conftest import Running, Start

from ftx.artifacts import MANIFEST, Bundle, Manifest, open_artifact
from ftx.step import Runtime
from ftx_serving import windows
from ftx_serving.predictor import Predictor

LONG = "hate " * 100 + "love " * 90
ENDLESS = "car " * 64 * windows.MOST
TEXTS = ["the car was good", LONG, ENDLESS, "good bad", "it is a table"]
Served = Callable[..., tuple[Running, Predictor]]


@pytest.fixture
def serve(tiny_bundle: Bundle, runtimes: Mapping[str, Runtime], start: Start, tmp_path: Path) -> Served:
    """`serve(**meta)`: a server of the tiny bundle with that in its contract, and the predictor of the same."""

    def begin(**meta: Any) -> tuple[Running, Predictor]:
        folder = tmp_path / "bundle"
        shutil.copytree(tiny_bundle.path, folder)
        manifest = Manifest.read(folder)
        changed = replace(manifest, meta={**manifest.meta, **meta})
        (folder / MANIFEST).write_text(changed.to_json(), encoding="utf-8")
        predictor = Predictor.load(folder, runtimes=runtimes, variant="onnx-fp32", threads=1)
        return start({"tiny": lambda: open_artifact(folder)}), predictor

    return begin


def assert_agree(running: Running, predictor: Predictor) -> list[list[dict[str, Any]]]:
    """Alone and together the server answers what the predictor does; returns that."""
    expected = predictor.predict(TEXTS)
    alone = [running.post("/predict", {"inputs": text}).json for text in TEXTS]
    for found in (alone, running.post("/predict", {"inputs": TEXTS}).json):
        for row, other in zip(found, expected, strict=True):
            assert [{**entry, "score": 0} for entry in row] == [{**entry, "score": 0} for entry in other]
            assert [entry["score"] for entry in row] == pytest.approx([entry["score"] for entry in other], abs=1e-5)
    return expected


def test_a_text_that_is_cut_says_so_in_each_entry(serve: Served) -> None:
    answers = assert_agree(*serve())
    cut = [{entry.get("truncated", False) for entry in answer} for answer in answers]
    assert cut == [{False}, {True}, {True}, {False}, {False}]


def test_a_long_text_is_read_in_windows_whose_logits_are_averaged(serve: Served) -> None:
    running, predictor = serve(long_text="window")
    answers = assert_agree(running, predictor)
    # Of the endless text the last windows are left out.
    assert ["truncated" in answer[0] for answer in answers] == [False, False, True, False, False]
    [encoding] = predictor.encoder.encode([LONG])
    rows = predictor.encoder.rows(encoding)
    assert len(rows) > 3 and all(len(row) <= 64 for row in rows)
    each = [predictor.session(**predictor.encoder.feed([row]))[0] for row in rows]
    assert predictor.logits([LONG])[0] == pytest.approx(np.mean(each, axis=0), abs=1e-5)
    assert running.post("/predict", {"inputs": LONG, "truncate": False}).status == 200
    assert running.post("/predict", {"inputs": ENDLESS, "truncate": False}).status == 422


def test_windows_of_one_text_stay_apart_where_neighbours_would_matter(tiny_bundle: Bundle, serve: Served) -> None:
    variants = [{**variant, "batch_invariant": False} for variant in tiny_bundle.meta["variants"]]
    assert_agree(*serve(long_text="window", variants=variants))


def test_a_doubtful_answer_says_that_the_model_abstains(serve: Served) -> None:
    running, predictor = serve(abstain_below=0.9)
    for answer in assert_agree(running, predictor):
        assert {entry.get("abstained", False) for entry in answer} == {answer[0]["score"] < 0.9}
    assert running.post("/predict?text=good%20bad").json.get("abstained", False) == (
        predictor.predict(["good bad"])[0][0]["score"] < 0.9
    )
    infer = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [5], "data": TEXTS}]}
    wanted = [{"name": "abstained"}, {"name": "truncated"}]
    abstained, truncated = running.post("/v2/models/tiny/infer", {**infer, "outputs": wanted}).json["outputs"]
    assert abstained["data"] == ["abstained" in answer[0] for answer in predictor.predict(TEXTS)]
    assert 0 < sum(abstained["data"]) < 5
    assert (truncated["datatype"], truncated["data"]) == ("BOOL", [False, True, True, False, False])


def test_several_labels_are_answered_with_the_bundles_thresholds(serve: Served) -> None:
    running, predictor = serve(task="multi-label-classification", thresholds=[0.1, 0.9, 0.5])
    for answer in assert_agree(running, predictor):
        limits = dict(zip(predictor.labels, [0.1, 0.9, 0.5], strict=True))
        assert all(entry["predicted"] == (entry["score"] >= limits[entry["label"]]) for entry in answer)
    infer = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["love great"]}]}
    scores, predicted = running.post("/v2/models/tiny/infer", infer).json["outputs"]
    expected = {entry["label"]: entry for entry in predictor.predict(["love great"])[0]}
    assert predicted["data"] == [expected[label]["predicted"] for label in predictor.labels]
    assert scores["data"] == pytest.approx([expected[label]["score"] for label in predictor.labels], abs=1e-5)
    metrics = running.get("/metrics").body.decode()
    assert "ftx_predictions_total" in metrics
