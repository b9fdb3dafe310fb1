"""A bundle serves only once it has shown that it answers here as it did where it was exported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serving.engine.conftest import sources

from ftx import machine
from ftx.artifacts import MANIFEST, Artifact, Bundle, open_artifact
from ftx.errors import FtxError
from ftx.hashing import hash_folder
from ftx.step import Runtime
from ftx_serving.engine import deployment
from ftx_serving.engine.deployment import DeploySettings, deploy
from ftx_serving.predictor import Predictor
from ftx_serving.runtimes import onnxruntime

Runtimes = Mapping[str, Runtime]


@pytest.fixture
def loaded_threads(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The numbers of threads that ONNX Runtime was loaded with."""
    seen: list[int | None] = []
    load = onnxruntime.load

    def noting(folder: Path, variant: Mapping[str, Any], device: str, threads: int | None) -> Any:
        seen.append(threads)
        return load(folder, variant, device, 1)

    monkeypatch.setattr(onnxruntime, "load", noting)
    return seen


def test_what_is_deployed_answers_as_the_predictor_and_says_what_it_can_do(
    tiny_bundle: Bundle, runtimes: Runtimes
) -> None:
    deployed = deploy("tiny", tiny_bundle, runtimes, DeploySettings(variant="onnx-fp32"))
    try:
        [answer] = deployed.engine.submit(sources("love great")).future.result(20)
    finally:
        deployed.engine.stop()
    expected = Predictor.load(tiny_bundle.path, runtimes=runtimes, variant="onnx-fp32").logits(["love great"])[0]
    assert np.abs(answer.logits - expected).max() < 1e-5
    assert deployed.measured.tokens_per_second > 0
    assert deployed.describe().startswith(f"tiny: onnx-fp32 of {tiny_bundle.digest[:12]}, ")
    assert "texts/s" in deployed.describe()


def test_flags_fix_what_would_be_measured(tiny_bundle: Bundle, runtimes: Runtimes) -> None:
    fixed = DeploySettings(variant="onnx-fp32", workers=2, threads=1, batch_tokens=99, tokenizers=2, cache=5)
    deployed = deploy("tiny", tiny_bundle, runtimes, fixed)
    deployed.engine.stop()
    settings = deployed.engine.settings
    assert (deployed.workers, deployed.threads) == (2, 1)
    assert (settings.rule.budget, settings.tokenizers, settings.cache) == (99, 2, 5)


def test_what_flags_fix_is_neither_measured_nor_loaded_twice(
    tiny_bundle: Bundle, runtimes: Runtimes, loaded_threads: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 6)
    monkeypatch.setattr(deployment, "measure_budget", None)
    fixed = DeploySettings(variant="onnx-fp32", workers=2, batch_tokens=99)
    deployed = deploy("tiny", tiny_bundle, runtimes, fixed)
    deployed.engine.stop()
    assert loaded_threads == [3, 3]
    assert (deployed.workers, deployed.threads) == (2, 3)


def test_a_variant_that_minds_its_neighbours_is_served_alone(tiny_bundle: Bundle, runtimes: Runtimes) -> None:
    deployed = deploy("tiny", tiny_bundle, runtimes, DeploySettings(variant="onnx-int8", workers=1, threads=1))
    texts = ["love great", "hate it very much today", "table"]
    try:
        answers = deployed.engine.submit(sources(*texts)).future.result(20)
    finally:
        deployed.engine.stop()
    expected = Predictor.load(tiny_bundle.path, runtimes=runtimes, variant="onnx-int8", threads=1).logits(texts)
    assert (np.array([answer.logits for answer in answers]) == expected).all()


def test_the_runtime_that_executes_the_variant_counts_not_the_one_it_was_checked_with(
    tiny_bundle: Bundle, runtimes: Runtimes, loaded_threads: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 2)
    other = replace(runtimes["onnxruntime"], name="other", process_threads=True)
    deployed = deploy("tiny", tiny_bundle, {"other": other}, DeploySettings(variant="onnx-fp32", batch_tokens=99))
    deployed.engine.stop()
    assert deployed.runtime == "other"
    assert loaded_threads == [None]  # several workers would share the threads of the process


@pytest.fixture
def forged(tiny_bundle: Artifact, tmp_path: Path) -> Callable[..., Bundle]:
    """`forge(change, tolerance)`: a bundle whose golden logits are changed, and whose hashes are right again."""

    def forge(change: Callable[[dict[str, list[float]]], None], tolerance: float | None = None) -> Bundle:
        folder = shutil.copytree(tiny_bundle.path, tmp_path / "bundle")
        rows = [json.loads(line) for line in (folder / "golden.jsonl").read_text().splitlines()]
        for row in rows:
            change(row["logits"])
        (folder / "golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / MANIFEST).unlink()
        meta = dict(tiny_bundle.meta)
        if tolerance is not None:
            meta["variants"] = [{**variant, "tolerance": {"max": tolerance}} for variant in meta["variants"]]
        manifest = replace(tiny_bundle.manifest, files=hash_folder(folder), meta=meta)
        (folder / MANIFEST).write_text(manifest.to_json())
        bundle = open_artifact(folder)
        assert isinstance(bundle, Bundle)
        return bundle

    return forge


def test_logits_unlike_the_golden_ones_are_refused(forged, runtimes: Runtimes) -> None:  # type: ignore[no-untyped-def]
    def shift(logits: dict[str, list[float]]) -> None:
        logits["onnx-fp32"] = [value + 0.01 for value in logits["onnx-fp32"]]

    with pytest.raises(FtxError, match=r"onnx-fp32 does not answer .* logits differ by 0\.01"):
        deploy("tiny", forged(shift), runtimes, DeploySettings(variant="onnx-fp32"))


def test_labels_unlike_the_golden_ones_are_refused_however_wide_the_tolerance(forged, runtimes: Runtimes) -> None:  # type: ignore[no-untyped-def]
    def turn(logits: dict[str, list[float]]) -> None:
        logits["onnx-int8"] = logits["onnx-int8"][::-1]

    with pytest.raises(FtxError, match=r"labels are others"):
        deploy("tiny", forged(turn, tolerance=100.0), runtimes, DeploySettings(variant="onnx-int8"))


def test_golden_examples_that_were_tampered_with_are_refused(
    tiny_bundle: Bundle, runtimes: Runtimes, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_bundle.path, tmp_path / "bundle")
    with (folder / "golden.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(FtxError, match=r"golden\.jsonl is not the file that was exported"):
        deploy("tiny", Bundle(folder, tiny_bundle.manifest), runtimes, DeploySettings())
