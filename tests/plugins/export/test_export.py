"""Bundles: what is written, what is refused, and what later steps add."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
import torch
from huggingface_hub import ModelCard
from onnx import numpy_helper

from ftx.artifacts import Artifact
from ftx.errors import ExitCode, FtxError
from ftx.plugins import PluginManager
from ftx.step import ModelSettings
from ftx_plugins.checkpoint import compute_logits, load_checkpoint
from ftx_plugins.export import onnx_exporter, torchscript
from ftx_plugins.export.card import write_card
from ftx_plugins.export.config import BundleConfig, OnnxConfig, TorchscriptConfig
from ftx_plugins.export.onnx_quantizer import quantize_onnx
from ftx_plugins.export.run import run_bundle, run_onnx, run_torchscript
from ftx_plugins.quantize import dynamic
from ftx_plugins.quantize.config import DynamicConfig
from ftx_plugins.quantize.recipe import Recipe
from ftx_serving.predictor import Predictor

TEXTS = ["love great car", "the awful phone is bad", "table window", "good " * 30]
ONNX_FP32 = "variants/onnx-fp32/model.onnx"


@pytest.fixture
def checkpoint(tiny_classifier: Path, tmp_path: Path, as_artifact: Callable[..., Artifact]) -> Callable[..., Artifact]:
    """`checkpoint(**meta)`: the tiny classifier as an artifact."""

    def make(**meta: Any) -> Artifact:
        folder = tmp_path / f"checkpoint-{len(meta)}"
        shutil.copytree(tiny_classifier, folder, dirs_exist_ok=True)
        return as_artifact(folder, "checkpoint", **meta)

    return make


@pytest.fixture
def exported_onnx(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Artifact) -> None:
    """The exporter's place is taken by the graph that it made of the same model before: seconds are saved."""
    monkeypatch.setattr(
        onnx_exporter, "export_onnx", lambda model, inputs, file, **_: shutil.copy(tiny_bundle.path / ONNX_FP32, file)
    )


def predictor(bundle: Path, variant: str) -> Predictor:
    return Predictor.load(bundle, runtimes=PluginManager.load(third_party=False).runtimes(), variant=variant)


def test_a_bundle_holds_four_checked_variants_quantized_and_onnx_first(tiny_bundle: Artifact) -> None:
    variants = tiny_bundle.meta["variants"]
    names = [variant["name"] for variant in variants]
    assert names == ["onnx-int8", "torchscript-int8", "onnx-fp32", "torchscript-fp32"]
    assert [variant["batch_invariant"] for variant in variants] == [False, False, True, True]
    for variant in variants:
        assert set(variant["files"]) <= set(tiny_bundle.manifest.files)
        assert variant["size_bytes"] == (tiny_bundle.path / variant["file"]).stat().st_size
        assert variant["parity"]["max_difference"] <= variant["tolerance"]["max"]
        assert {"length 1", "max length", "left padding", "holes in the mask"} <= set(variant["parity"]["cases"])
    assert variants[2]["tolerance"] == {"max": 1e-4}
    assert variants[1]["parity"]["max_difference_from_traced"] <= 1e-4


def test_a_bundle_says_all_that_a_server_must_know(tiny_bundle: Artifact) -> None:
    meta = tiny_bundle.meta
    assert meta["labels"] == ["positive", "negative", "neutral"]
    assert meta["inputs"] == ["input_ids", "attention_mask", "token_type_ids"]
    assert (meta["max_length"], meta["pair"], meta["padding_side"]) == (64, False, "right")
    assert meta["recipe"]["scheme"] == "dynamic"
    assert set(meta["lineage"]) == {"model", "data"}
    assert {"torch", "transformers", "onnx", "onnxruntime", "tokenizers"} <= set(meta["versions"])
    assert (tiny_bundle.path / "config.json").is_file()
    tokenizer = json.loads((tiny_bundle.path / "tokenizer.json").read_text())
    assert (tokenizer["truncation"], tokenizer["padding"]) == (None, None)


def test_the_card_of_a_bundle_is_read_by_the_hub_and_claims_nothing_that_was_not_measured(
    tiny_bundle: Artifact,
) -> None:
    text = (tiny_bundle.path / "README.md").read_text(encoding="utf-8")
    assert "README.md" in tiny_bundle.manifest.files
    data = ModelCard(text).data
    assert data.pipeline_tag == "text-classification"
    assert {"onnx", "torchscript"} <= set(data.tags)
    assert data.base_model is None and data.eval_results is None
    assert [f"{place}. {label}" in text for place, label in enumerate(tiny_bundle.meta["labels"])] == [True] * 3
    for variant in tiny_bundle.meta["variants"]:
        assert f"| {variant['name']} | {variant['runtime']} |" in text
    assert tiny_bundle.meta["lineage"]["model"] in text


def test_a_card_names_a_base_model_only_where_others_find_it(tiny_bundle: Artifact, tmp_path: Path) -> None:
    for model, expected in (
        (ModelSettings("google-bert/bert-base-chinese", on_hub=True), "google-bert/bert-base-chinese"),
        (ModelSettings("my/folder"), None),
    ):
        write_card(tmp_path, tiny_bundle.meta, model)
        text = (tmp_path / "README.md").read_text(encoding="utf-8")
        assert ModelCard(text).data.base_model == expected
        assert "my/folder" not in text


def test_labels_cannot_break_the_card(tiny_bundle: Artifact, tmp_path: Path) -> None:
    labels = ["---", "a|b", "<script>\n# x"]
    write_card(tmp_path, {**tiny_bundle.meta, "labels": labels}, ModelSettings("tiny"))
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert ModelCard(text).data.library_name == "ftx"
    assert "<script>" not in text and "\n# x" not in text


def test_onnx_has_plain_names_free_axes_and_one_file_without_folders_of_this_machine(tiny_bundle: Artifact) -> None:
    path = tiny_bundle.path / ONNX_FP32
    graph = onnx.load(str(path)).graph
    axes = [[axis.dim_param for axis in value.type.tensor_type.shape.dim] for value in graph.input]
    assert axes == [["batch", "length"]] * 3
    assert [value.name for value in graph.output] == ["logits"]
    assert "bert.encoder.layer.1.attention.self.query" in {node.name for node in graph.node}
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    assert str(Path(torch.__file__).parent.parent).encode() not in path.read_bytes()


def test_int8_keeps_the_labels(tiny_bundle: Artifact, tiny_classifier: Path, tiny_dataset: Artifact) -> None:
    with pa.memory_map(str(tiny_dataset.path / "test.arrow")) as source:
        texts = pa.ipc.open_stream(source).read_all()["text"].to_pylist()
    expected = compute_logits(load_checkpoint(tiny_classifier), texts).argmax(1)
    for variant in ("onnx-int8", "torchscript-int8"):
        same = predictor(tiny_bundle.path, variant).logits(texts).argmax(1) == expected
        assert same.mean() > 0.9


def test_the_recipe_means_the_same_numbers_before_and_after_export(
    tiny_bundle: Artifact,
    tiny_dataset: Artifact,
    checkpoint: Callable[..., Artifact],
    make_context: Callable[..., Any],
    as_artifact: Callable[..., Artifact],
    exported_onnx: None,
) -> None:
    exporting = make_context("export:onnx")
    run_onnx(OnnxConfig(), {"model": checkpoint(), "data": tiny_dataset}, exporting)
    exported = as_artifact(exporting.out, "bundle", **exporting.meta)
    assert [variant["name"] for variant in exported.meta["variants"]] == ["onnx-fp32"]
    quantizing = make_context("quantize:dynamic")
    metrics = dynamic.run(DynamicConfig(reduce_range=False), {"model": exported}, quantizing)
    quantized = as_artifact(quantizing.out, "bundle", **quantizing.meta)
    assert [variant["name"] for variant in quantized.meta["variants"]] == ["onnx-int8", "onnx-fp32"]
    assert list(metrics["variants"]) == ["onnx-int8"]
    after, before = (predictor(path, "onnx-int8").logits(TEXTS) for path in (quantized.path, tiny_bundle.path))
    assert (after == before).all()


def test_quantizing_a_bundle_without_onnx_says_to_quantize_first(
    checkpoint: Callable[..., Artifact],
    tiny_dataset: Artifact,
    make_context: Callable[..., Any],
    as_artifact: Callable[..., Artifact],
) -> None:
    context = make_context()
    run_torchscript(TorchscriptConfig(), {"model": checkpoint(), "data": tiny_dataset}, context)
    bundle = as_artifact(context.out, "bundle", **context.meta)
    with pytest.raises(FtxError, match="ftx run train quantize export"):
        dynamic.run(DynamicConfig(), {"model": bundle}, make_context())


def test_consecutive_exports_extend_one_bundle(
    checkpoint: Callable[..., Artifact],
    tiny_dataset: Artifact,
    make_context: Callable[..., Any],
    as_artifact: Callable[..., Artifact],
    exported_onnx: None,
) -> None:
    model = checkpoint(recipe=Recipe().to_dict())
    first, second = make_context("export:torchscript"), make_context("export:onnx")
    run_torchscript(TorchscriptConfig(), {"model": model, "data": tiny_dataset}, first)
    bundle = as_artifact(first.out, "bundle", **first.meta)
    run_onnx(OnnxConfig(), {"model": model, "data": tiny_dataset, "bundle": bundle}, second)
    names = [variant["name"] for variant in second.meta["variants"]]
    assert names == ["onnx-int8", "torchscript-int8", "onnx-fp32", "torchscript-fp32"]
    for line in (second.out / "golden.jsonl").read_text().splitlines():
        assert set(json.loads(line)["logits"]) == set(names)
    as_artifact(second.out, "bundle", **second.meta)
    assert predictor(second.out, "torchscript-int8").predict(["love great"])[0][0]["label"] == "positive"


def test_a_bundle_of_another_model_is_not_extended(
    checkpoint: Callable[..., Artifact], tiny_dataset: Artifact, tiny_bundle: Artifact, make_context: Callable[..., Any]
) -> None:
    context = make_context()
    inputs = {"model": checkpoint(base="other"), "data": tiny_dataset, "bundle": tiny_bundle}
    run_torchscript(TorchscriptConfig(), inputs, context)
    assert [variant["name"] for variant in context.meta["variants"]] == ["torchscript-fp32"]


def test_a_damaged_onnx_graph_is_not_written(
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: Callable[..., Artifact],
    tiny_dataset: Artifact,
    tiny_bundle: Artifact,
    make_context: Callable[..., Any],
) -> None:
    def damaged(model: Any, inputs: Any, file: Path, **_: Any) -> None:
        graph = onnx.load(str(tiny_bundle.path / ONNX_FP32))
        [bias] = [tensor for tensor in graph.graph.initializer if tensor.name == "classifier.bias"]
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(1e-3), bias.name))
        onnx.save(graph, str(file))

    monkeypatch.setattr(onnx_exporter, "export_onnx", damaged)
    context = make_context()
    with pytest.raises(
        FtxError, match=r"the variant onnx-fp32 .* torch.*case: length 1; largest difference 0\.001"
    ) as error:
        run_onnx(OnnxConfig(), {"model": checkpoint(), "data": tiny_dataset}, context)
    assert error.value.code == ExitCode.STEP_FAILED
    assert not list(context.out.rglob("*.onnx"))


def test_a_module_that_takes_padding_to_be_on_the_right_is_not_written(
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: Callable[..., Artifact],
    tiny_dataset: Artifact,
    make_context: Callable[..., Any],
) -> None:
    class RightPadded(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            lengths = attention_mask.sum(dim=1, keepdim=True)
            mask = (torch.arange(input_ids.shape[1])[None] < lengths).long()
            return self.model(input_ids=input_ids, attention_mask=mask, token_type_ids=token_type_ids)

    write = torchscript.save_torchscript
    monkeypatch.setattr(
        torchscript, "save_torchscript", lambda model, inputs, file: write(RightPadded(model), inputs, file)
    )
    with pytest.raises(FtxError, match=r"torchscript-fp32 .*case: left padding"):
        run_torchscript(TorchscriptConfig(), {"model": checkpoint(), "data": tiny_dataset}, make_context())


def test_excluded_layers_stay_in_fp32_in_the_graph(tiny_bundle: Artifact, tmp_path: Path) -> None:
    source, target = tiny_bundle.path / ONNX_FP32, tmp_path / "model.onnx"
    assert quantize_onnx(source, target, Recipe(exclude=("classifier", "*.query"))) == 14 - 1 - 2
    nodes = {node.name: node.op_type for node in onnx.load(str(target)).graph.node}
    assert nodes["bert.encoder.layer.0.attention.self.query"] == "MatMul"
    assert nodes["bert.encoder.layer.0.attention.self.key_quant"] == "MatMulInteger"
    assert not any(name.startswith("classifier") and kind == "MatMulInteger" for name, kind in nodes.items())
    with pytest.raises(FtxError, match=r"exclude = '\*\.querry' matches none"):
        quantize_onnx(source, target, Recipe(exclude=("*.querry",)))


def test_a_layer_that_fusing_merged_cannot_be_left_in_fp32(tiny_bundle: Artifact, tmp_path: Path) -> None:
    graph = onnx.load(str(tiny_bundle.path / ONNX_FP32))
    [query] = [node for node in graph.graph.node if node.name == "bert.encoder.layer.1.attention.self.query"]
    query.name = "node_MatMul_99"
    onnx.save(graph, str(tmp_path / "fused.onnx"))
    assert quantize_onnx(tmp_path / "fused.onnx", tmp_path / "model.onnx", Recipe(exclude=("classifier",))) == 13
    with pytest.raises(
        FtxError, match=r"layer\.1\.attention\.self\.query cannot be left in fp32.*\n.*export\.fuse=false"
    ):
        quantize_onnx(tmp_path / "fused.onnx", tmp_path / "model.onnx", Recipe(exclude=("bert.encoder.layer.1",)))


def test_embeddings_are_quantized_on_demand_as_in_the_simulation(
    tiny_bundle: Artifact, tmp_path: Path, tiny_classifier: Path
) -> None:
    from ftx_plugins.export.variants import TorchSession
    from ftx_plugins.quantize.recipe import simulate
    from ftx_serving.runtimes.onnxruntime import load

    encoder = predictor(tiny_bundle.path, "onnx-fp32").encoder
    feeds = [encoder.feed([encoding]) for encoding in encoder.encode(TEXTS)]
    recipe = Recipe(embeddings=True, exclude=("*encoder*", "*pooler*", "classifier"))
    assert quantize_onnx(tiny_bundle.path / ONNX_FP32, tmp_path / "embeddings.onnx", recipe) == 3
    session = load(tmp_path, {"file": "embeddings.onnx"})
    simulated = TorchSession(simulate(load_checkpoint(tiny_classifier).model, recipe))
    assert max(np.abs(session(**feed) - simulated(**feed)).max() for feed in feeds) < 1e-4


def test_pairs_of_texts_are_exported_and_answered(
    checkpoint: Callable[..., Artifact],
    tmp_path: Path,
    tiny_classifier: Path,
    as_artifact: Callable[..., Artifact],
    make_context: Callable[..., Any],
) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    texts = [f"good car n{row}" for row in range(24)]
    pairs = [f"awful phone {'very ' * row}" for row in range(24)]
    table = pa.table({"text": texts, "text_pair": pairs, "label": [0] * 24, "row": list(range(24))})
    with pa.OSFile(str(folder / "validation.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    context = make_context()
    data = as_artifact(folder, "dataset")
    run_bundle(BundleConfig(formats=("onnx", "torchscript")), {"model": checkpoint(), "data": data}, context)
    as_artifact(context.out, "bundle", **context.meta)
    expected = compute_logits(load_checkpoint(tiny_classifier), texts, pairs)
    assert json.loads((context.out / "golden.jsonl").read_text().splitlines()[0])["text_pair"].startswith("awful")
    for variant in ("onnx-fp32", "torchscript-fp32"):
        loaded = predictor(context.out, variant)
        assert loaded.contract.pair
        assert np.abs(loaded.logits(texts, pairs) - expected).max() < 1e-4


def test_a_data_set_without_rows_is_a_clear_error(
    checkpoint: Callable[..., Artifact], tmp_path: Path, as_artifact: Callable[..., Artifact], make_context: Any
) -> None:
    (tmp_path / "empty").mkdir()
    data = as_artifact(tmp_path / "empty", "dataset")
    with pytest.raises(FtxError, match="has no rows"):
        run_torchscript(TorchscriptConfig(), {"model": checkpoint(), "data": data}, make_context())
