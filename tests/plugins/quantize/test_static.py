"""A static recipe: decided, simulated, carried out; the same numbers everywhere, whoever shares the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino as ov
import pyarrow as pa
import pytest

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx.plugins import PluginManager
from ftx_plugins.checkpoint import LoadedCheckpoint, compute_logits
from ftx_plugins.data.splits import load_rows
from ftx_plugins.export.config import BundleConfig
from ftx_plugins.export.onnx_static import quantize_onnx_static
from ftx_plugins.export.openvino_quantizer import quantize_openvino
from ftx_plugins.export.run import run_bundle
from ftx_plugins.quantize import static
from ftx_plugins.quantize.calibration import load_recipe
from ftx_plugins.quantize.config import StaticConfig
from ftx_plugins.quantize.recipe import Recipe, lower_in_torch, simulate
from ftx_plugins.quantize.torch_session import TorchSession
from ftx_serving.predictor import Predictor
from ftx_serving.runtimes import Session
from ftx_serving.runtimes import onnxruntime as onnxruntime_runtime
from ftx_serving.runtimes import openvino as openvino_runtime

FP32 = {"onnx": "variants/onnx-fp32/model.onnx", "openvino": "variants/openvino-fp32/model.xml"}
LOWERED = ("onnx-int8", "openvino-int8")
"""What a bundle's fp32 variants can still be quantized to."""
INT8 = (*LOWERED, "torchscript-int8")


def predictor(bundle: Artifact, variant: str) -> Predictor:
    return Predictor.load(bundle.path, runtimes=PluginManager.load(third_party=False).runtimes(), variant=variant)


def texts_of(data: Artifact) -> list[str]:
    return load_rows(data, "test").texts


def lower(bundle: Artifact, recipe: Recipe, folder: Path) -> dict[str, Session]:
    """The recipe carried out on the bundle's fp32 variants: format -> session."""
    quantize_onnx_static(bundle.path / FP32["onnx"], folder / "model.onnx", recipe)
    quantize_openvino(bundle.path / FP32["openvino"], folder / "model.xml", recipe)
    return {
        "onnx": onnxruntime_runtime.load(folder, {"file": "model.onnx"}),
        "openvino": openvino_runtime.load(folder, {"file": "model.xml", "precision": "int8"}),
    }


def test_it_decides_on_ranges_that_travel_beside_the_weights(static_checkpoint: Artifact) -> None:
    recipe = load_recipe(static_checkpoint)
    assert recipe is not None
    assert (recipe.scheme, recipe.calibration, recipe.smooth, recipe.rows) == ("static", "min-max", 0.75, 64)
    assert len(recipe.inputs) == 14
    assert "calibration.safetensors" in static_checkpoint.manifest.files
    assert "inputs" not in static_checkpoint.meta["recipe"]
    assert static_checkpoint.manifest.metrics["layers"] == 14


def test_the_bundle_holds_int8_where_the_recipe_reaches_and_says_that_neighbours_do_not_matter(
    static_bundle: Artifact,
) -> None:
    variants = {variant["name"]: variant for variant in static_bundle.meta["variants"]}
    assert list(variants) == [
        f"{name}-{kind}" for kind in ("int8", "fp32") for name in ("openvino", "onnx", "torchscript")
    ]
    assert all(variant["batch_invariant"] for variant in variants.values())
    assert variants["openvino-fp32"]["tolerance"] == {"max": 1e-4}
    for name in INT8:
        parity = variants[name]["parity"]
        assert parity["max_difference"] <= variants[name]["tolerance"]["max"]
        assert (parity["batch_flips"], parity["batch_spread"] < 1e-3) == (0, True)


@pytest.mark.parametrize("variant", INT8)
def test_a_variant_computes_what_the_simulation_does(
    variant: str, static_bundle: Artifact, static_checkpoint: Artifact, loaded: LoadedCheckpoint, tiny_dataset: Artifact
) -> None:
    texts = texts_of(tiny_dataset)
    recipe = load_recipe(static_checkpoint)
    assert recipe is not None
    exact = compute_logits(loaded, texts)
    simulated = compute_logits(replace_model(loaded, simulate(loaded.model, recipe)), texts)
    logits = predictor(static_bundle, variant).logits(texts)
    loss = np.sqrt(((simulated - exact) ** 2).mean())
    assert loss > 1e-3
    assert np.sqrt(((logits - simulated) ** 2).mean()) < loss / 4
    assert (logits.argmax(1) == exact.argmax(1)).mean() > 0.9


def replace_model(loaded: LoadedCheckpoint, model: Any) -> LoadedCheckpoint:
    return LoadedCheckpoint(model, loaded.tokenizer, loaded.labels, loaded.max_length)


@pytest.mark.parametrize("variant", INT8)
def test_a_text_has_the_same_label_alone_padded_on_either_side_and_in_any_batch(
    variant: str, static_bundle: Artifact, tiny_dataset: Artifact
) -> None:
    model, texts = predictor(static_bundle, variant), texts_of(tiny_dataset)
    encodings = model.encoder.encode(texts)
    alone = np.concatenate([model.session(**model.encoder.feed([encoding])) for encoding in encodings])
    assert len(set(alone.argmax(1))) == 3
    longest = max(encodings, key=len)
    padded = [model.session(**model.encoder.feed([one, longest]))[0] for one in encodings]
    assert np.abs(np.stack(padded) - alone).max() < 1e-3
    # On the left, padding moves a BERT's positions, quantized or not: compared is the same padding without company.
    for one in encodings:
        feed = model.encoder.feed([one, longest], side="left")
        by_itself = model.session(**{name: values[:1] for name, values in feed.items()})
        assert np.abs(model.session(**feed)[0] - by_itself).max() < 1e-3
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(texts))
        for start in range(0, len(order), 7):
            rows = order[start : start + 7]
            logits = model.session(**model.encoder.feed([encodings[row] for row in rows]))
            assert np.abs(logits - alone[rows]).max() < 1e-3
            assert (logits.argmax(1) == alone[rows].argmax(1)).all()


def test_quantizing_after_the_export_gives_the_same_numbers(
    static_bundle: Artifact,
    tiny_checkpoint: Artifact,
    tiny_dataset: Artifact,
    run_step: Callable[..., Artifact],
) -> None:
    inputs = {"model": tiny_checkpoint, "data": tiny_dataset}
    exported = run_step(run_bundle, BundleConfig(formats=("openvino", "onnx")), inputs, "bundle")
    config = StaticConfig(calibration="min-max", smooth=0.75, calibration_rows=64, choice_rows=32, activations="uint8")
    quantized = run_step(static.run, config, {"model": exported, "data": tiny_dataset}, "bundle")
    texts = texts_of(tiny_dataset)
    assert quantized.meta["recipe"] == static_bundle.meta["recipe"]
    for variant in LOWERED:
        assert (predictor(quantized, variant).logits(texts) == predictor(static_bundle, variant).logits(texts)).all()


def test_what_is_auto_is_the_nearest_to_fp32_of_all_that_was_tried(
    tiny_checkpoint: Artifact, tiny_dataset: Artifact, make_context: Callable[..., Any]
) -> None:
    context = make_context("quantize:static")
    config = StaticConfig(calibration_rows=64, choice_rows=48)
    metrics = static.run(config, {"model": tiny_checkpoint, "data": tiny_dataset}, context)
    tried = metrics["tried"]
    assert [one["calibration"] for one in tried] == ["min-max"] * 3 + ["percentile", "entropy"]
    nearest = min(tried, key=lambda one: one["kl"])
    assert (metrics["calibration"], metrics["smooth"]) == (nearest["calibration"], nearest["smooth"])


def test_excluded_layers_stay_in_fp32_in_either_graph(
    static_bundle: Artifact, static_checkpoint: Artifact, tmp_path: Path
) -> None:
    recipe = load_recipe(static_checkpoint)
    assert recipe is not None
    recipe = replace(recipe, exclude=("classifier", "*.query"))
    lower(static_bundle, recipe, tmp_path)
    graph = onnx.load(str(tmp_path / "model.onnx")).graph
    integers = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8}
    quantized = {name.removesuffix(".levels") for name in integers if name.endswith(".levels")}
    program = ov.Core().read_model(tmp_path / "model.xml")
    matmuls = [node for node in program.get_ordered_ops() if node.get_type_name() == "MatMul"]
    for node in matmuls:
        name = node.get_friendly_name()
        if name in recipe.inputs:
            assert (node.input_value(1).get_node().get_type_name() == "Multiply") == (name in quantized)
    assert len(quantized) == 14 - 1 - 2 + 3
    assert "bert.encoder.layer.1.attention.self.query" not in quantized


def test_tables_of_embeddings_stay_in_int8_in_the_files_and_once_loaded(
    static_bundle: Artifact, static_checkpoint: Artifact, tmp_path: Path
) -> None:
    recipe = load_recipe(static_checkpoint)
    assert recipe is not None
    lower(static_bundle, recipe, tmp_path)
    graph = onnx.load(str(tmp_path / "model.onnx")).graph
    table = next(one for one in graph.initializer if one.name == "bert.embeddings.word_embeddings.levels")
    shape = list(table.dims)
    assert [one.name for one in graph.initializer if list(one.dims) == shape] == [table.name]
    compiled = ov.Core().compile_model(tmp_path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    constants = [node for node in compiled.get_runtime_model().get_ordered_ops() if not node.inputs()]
    kinds = [
        node.get_output_element_type(0)
        for node in constants
        if node.get_output_partial_shape(0) == ov.PartialShape(shape)
    ]
    assert kinds == [ov.Type.i8]


@pytest.mark.parametrize("quantize", [quantize_onnx_static, quantize_openvino])
def test_an_unknown_layer_in_exclude_is_an_error_that_names_some(
    quantize: Any, static_bundle: Artifact, static_checkpoint: Artifact, tmp_path: Path
) -> None:
    recipe = load_recipe(static_checkpoint)
    assert recipe is not None
    source = static_bundle.path / FP32["onnx" if quantize is quantize_onnx_static else "openvino"]
    with pytest.raises(FtxError, match=r"exclude = '\*\.querry' matches none(.|\n)*names are such as bert\.e"):
        quantize(source, tmp_path / "model", replace(recipe, exclude=("*.querry",)))


@pytest.mark.parametrize("change", [{"embeddings": False}, {"activations": "int8"}, {"reduce_range": True}])
def test_settings_mean_the_same_in_every_format(
    change: dict[str, Any],
    static_bundle: Artifact,
    static_checkpoint: Artifact,
    loaded: LoadedCheckpoint,
    tiny_dataset: Artifact,
    tmp_path: Path,
) -> None:
    recipe = load_recipe(static_checkpoint)
    assert recipe is not None
    recipe = replace(recipe, **change)
    encoder = predictor(static_bundle, "onnx-fp32").encoder
    feed = encoder.feed(encoder.encode(texts_of(tiny_dataset)))
    simulated = TorchSession(simulate(loaded.model, recipe))(**feed)
    loss = np.sqrt(((simulated - TorchSession(loaded.model)(**feed)) ** 2).mean())
    integers = TorchSession(lower_in_torch(loaded.model, recipe))
    for session in (*lower(static_bundle, recipe, tmp_path).values(), integers):
        assert np.sqrt(((session(**feed) - simulated) ** 2).mean()) < loss / 4


def test_fewer_rows_than_asked_are_used_with_a_warning_and_none_is_an_error(
    tiny_checkpoint: Artifact,
    tiny_dataset: Artifact,
    make_context: Callable[..., Any],
    recorder: Any,
    tmp_path: Path,
    as_artifact: Callable[..., Artifact],
) -> None:
    config = StaticConfig(calibration="min-max", smooth=0, calibration_rows=500, choice_rows=500)
    metrics = static.run(config, {"model": tiny_checkpoint, "data": tiny_dataset}, make_context("quantize:static"))
    assert (metrics["calibration_rows"], metrics["choice_rows"]) == (96, 48)
    assert "96 rows, and all of them calibrate, not 500" in recorder.messages("warning")[0]

    schema = pa.schema([("text", pa.string()), ("label", pa.int64()), ("row", pa.int64())])
    folder = tmp_path / "empty"
    folder.mkdir()
    with pa.OSFile(str(folder / "train.arrow"), "wb") as file, pa.ipc.new_stream(file, schema):
        pass
    data = as_artifact(folder, "dataset", labels=tiny_dataset.meta["labels"])
    with pytest.raises(FtxError, match="no train rows"):
        static.run(config, {"model": tiny_checkpoint, "data": data}, make_context("quantize:static"))


def test_pairs_of_texts_calibrate_as_pairs(
    tiny_checkpoint: Artifact,
    tmp_path: Path,
    as_artifact: Callable[..., Artifact],
    make_context: Callable[..., Any],
    tiny_dataset: Artifact,
) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    columns = {"text": ["good car"] * 24, "text_pair": [f"phone {'very ' * n}" for n in range(24)]}
    table = pa.table({**columns, "label": [0] * 24, "row": list(range(24))})
    for split in ("train", "validation"):
        with pa.OSFile(str(folder / f"{split}.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    data = as_artifact(folder, "dataset", labels=tiny_dataset.meta["labels"])
    config = StaticConfig(calibration="min-max", smooth=0, calibration_rows=24, choice_rows=24)
    assert static.run(config, {"model": tiny_checkpoint, "data": data}, make_context())["layers"] == 14


def test_a_bundle_without_onnx_says_how_to_go_on(
    static_bundle: Artifact, tiny_dataset: Artifact, make_context: Callable[..., Any]
) -> None:
    variants = [one for one in static_bundle.meta["variants"] if one["name"] in {"openvino-fp32", "torchscript-fp32"}]
    meta = {**static_bundle.meta, "variants": variants, "recipe": None}
    bundle = type(static_bundle)(static_bundle.path, replace(static_bundle.manifest, meta=meta))
    with pytest.raises(FtxError, match="no fp32 ONNX variant to calibrate on"):
        static.run(StaticConfig(), {"model": bundle, "data": tiny_dataset}, make_context())
