"""A bundle as a function."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx.step import Runtime
from ftx_plugins.checkpoint import compute_logits, load_checkpoint
from ftx_serving.decoding import SingleLabel
from ftx_serving.predictor import Predictor

TEXTS = ["the car was good", "awful phone", "it is very very sad today", "table", "", "love " * 200]


@pytest.mark.parametrize("variant", ["onnx-fp32", "torchscript-fp32"])
def test_fp32_variants_give_the_checkpoints_logits_for_any_text(
    tiny_bundle: Artifact, tiny_classifier: Path, runtimes: Mapping[str, Runtime], variant: str
) -> None:
    predictor = Predictor.load(tiny_bundle.path, runtimes=runtimes, variant=variant)
    expected = compute_logits(load_checkpoint(tiny_classifier), TEXTS)
    assert np.abs(predictor.logits(TEXTS) - expected).max() < 1e-4


@pytest.mark.parametrize("variant", ["onnx-int8", "torchscript-int8"])
def test_a_texts_label_does_not_depend_on_its_neighbours(
    tiny_bundle: Artifact, runtimes: Mapping[str, Runtime], variant: str
) -> None:
    predictor = Predictor.load(tiny_bundle.path, runtimes=runtimes, variant=variant)
    together = predictor.logits(TEXTS)
    assert all((together[row] == predictor.logits([text])[0]).all() for row, text in enumerate(TEXTS))
    assert (predictor.logits(TEXTS, alone=False) != together).any()  # what going alone is for


def test_the_first_variant_is_the_quantized_onnx_one(tiny_bundle: Artifact, runtimes: Mapping[str, Runtime]) -> None:
    assert Predictor.load(tiny_bundle.path, runtimes=runtimes).variant.name == "onnx-int8"


def test_a_variant_whose_runtime_is_not_installed_is_passed_over(
    tiny_bundle: Artifact, runtimes: Mapping[str, Runtime]
) -> None:
    lacking = {**runtimes, "onnxruntime": replace(runtimes["onnxruntime"], requires=("not_there_at_all",))}
    assert Predictor.load(tiny_bundle.path, runtimes=lacking).variant.name == "torchscript-int8"
    with pytest.raises(FtxError, match=r"onnx-int8 with onnxruntime: not installed here \(not_there_at_all\)"):
        Predictor.load(tiny_bundle.path, runtimes=lacking, variant="onnx-int8", runtime="onnxruntime")


def test_dynamic_int8_is_never_chosen_for_a_gpu(tiny_bundle: Artifact) -> None:
    from ftx_serving.contract import Contract
    from ftx_serving.predictor import choose_variant

    gpu = Runtime("onnxruntime", "", "x:y", formats=("onnx",), devices=("cpu", "cuda"))
    variant, _ = choose_variant(Contract.from_meta(tiny_bundle.meta), {"onnxruntime": gpu}, device="cuda")
    assert variant.name == "onnx-fp32"


def test_a_variant_whose_runtime_came_with_a_plugin_that_is_gone_is_named(tiny_bundle: Artifact) -> None:
    from dataclasses import replace

    from ftx_serving.contract import Contract
    from ftx_serving.predictor import choose_variant

    contract = Contract.from_meta(tiny_bundle.meta)
    lone = replace(contract, variants=(replace(contract.variants[0], name="tflite-int8", runtime="tflite"),))
    with pytest.raises(FtxError, match="tflite-int8: nothing that is installed adds its runtime tflite"):
        choose_variant(lone, {})


def test_unknown_variants_and_runtimes_are_errors_that_list_the_known(
    tiny_bundle: Artifact, runtimes: Mapping[str, Runtime]
) -> None:
    with pytest.raises(FtxError, match="no variant openvino-int8; it has: onnx-int8, torchscript-int8, onnx-fp32"):
        Predictor.load(tiny_bundle.path, runtimes=runtimes, variant="openvino-int8")
    with pytest.raises(FtxError, match="no runtime tflite; there are: onnxruntime, openvino, torchscript"):
        Predictor.load(tiny_bundle.path, runtimes=runtimes, runtime="tflite")
    with pytest.raises(FtxError, match="onnx-int8 with torchscript: it does not read onnx"):
        Predictor.load(tiny_bundle.path, runtimes=runtimes, variant="onnx-int8", runtime="torchscript")
    with pytest.raises(FtxError, match="does not run on cuda"):
        Predictor.load(tiny_bundle.path, runtimes=runtimes, variant="torchscript-fp32", device="cuda")


@pytest.mark.parametrize("name", ["variants/onnx-int8/model.onnx", "tokenizer.json"])
def test_a_tampered_file_is_refused_before_it_is_loaded(
    tiny_bundle: Artifact, runtimes: Mapping[str, Runtime], tmp_path: Path, name: str
) -> None:
    copy = shutil.copytree(tiny_bundle.path, tmp_path / "bundle")
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(FtxError, match=f"{name} is not the file that was exported"):
        Predictor.load(copy, runtimes=runtimes)


def test_a_tampered_torchscript_archive_is_never_unpickled(
    tiny_bundle: Artifact, runtimes: Mapping[str, Runtime], tmp_path: Path
) -> None:
    copy = shutil.copytree(tiny_bundle.path, tmp_path / "bundle")
    (copy / "variants/torchscript-fp32/model.pt").write_bytes(b"not an archive: loading it would be another error")
    with pytest.raises(FtxError, match=r"model\.pt is not the file that was exported"):
        Predictor.load(copy, runtimes=runtimes, variant="torchscript-fp32")


def test_golden_examples_are_met_exactly(tiny_bundle: Artifact, runtimes: Mapping[str, Runtime]) -> None:
    lines = [json.loads(line) for line in (tiny_bundle.path / "golden.jsonl").read_text().splitlines()]
    assert len(lines) == 16
    for variant in ("onnx-int8", "onnx-fp32", "torchscript-int8", "torchscript-fp32"):
        predictor = Predictor.load(tiny_bundle.path, runtimes=runtimes, variant=variant)
        expected = np.array([line["logits"][variant] for line in lines])
        assert np.abs(predictor.logits([line["text"] for line in lines], alone=True) - expected).max() < 1e-5


def test_predictions_are_all_labels_best_first(tiny_bundle: Artifact, runtimes: Mapping[str, Runtime]) -> None:
    predictor = Predictor.load(tiny_bundle.path, runtimes=runtimes)
    good, bad = predictor.predict(["love love great", "hate awful worst"])
    assert (good[0]["label"], bad[0]["label"]) == ("positive", "negative")
    assert [set(entry) for entry in good] == [{"label", "score"}] * 3
    assert sum(entry["score"] for entry in good) == pytest.approx(1)
    assert good[0]["score"] >= good[1]["score"] >= good[2]["score"]
    assert [len(row) for row in predictor.predict(["good"], top_k=2)] == [2]
    assert predictor.predict([]) == []
    json.dumps(good)


def test_softmax_of_extreme_logits_is_finite() -> None:
    assert SingleLabel(["a", "b"]).answers(np.array([[1e4, -1e4]], dtype=np.float32)) == [
        [{"label": "a", "score": 1.0}, {"label": "b", "score": 0.0}]
    ]


def test_a_checkpoint_is_no_bundle(tiny_classifier: Path, as_artifact, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    checkpoint = as_artifact(shutil.copytree(tiny_classifier, tmp_path / "model"), "checkpoint")
    with pytest.raises(FtxError, match="a checkpoint, not a bundle"):
        Predictor.load(checkpoint.path, runtimes={})
