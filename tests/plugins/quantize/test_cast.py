"""bf16 and fp16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx.plugins import PluginManager
from ftx.step import ModelSettings
from ftx_plugins.checkpoint import LoadedCheckpoint
from ftx_plugins.evaluate.candidates import candidates_of
from ftx_plugins.export.config import BundleConfig, OnnxConfig
from ftx_plugins.export.run import run_bundle, run_onnx
from ftx_plugins.quantize import cast, check
from ftx_plugins.quantize.config import CastConfig
from ftx_plugins.quantize.recipe import Recipe, simulate
from ftx_plugins.train import precision
from ftx_serving.predictor import Predictor, choose_variant

TEXTS = ["love great car", "the awful phone is bad", "table window"]


@pytest.fixture(scope="module")
def plain_bundle(tiny_checkpoint: Artifact, tiny_dataset: Artifact, run_step: Callable[..., Artifact]) -> Artifact:
    """The tiny classifier in fp32, in OpenVINO and ONNX."""
    inputs = {"model": tiny_checkpoint, "data": tiny_dataset}
    return run_step(run_bundle, BundleConfig(formats=("openvino", "onnx")), inputs, "bundle")


def test_a_cast_is_a_recipe_that_the_simulation_carries_out(
    tiny_checkpoint: Artifact, loaded: LoadedCheckpoint, make_context: Callable[..., Any]
) -> None:
    context = make_context("quantize:bf16")
    cast.run_bf16(CastConfig(), {"model": tiny_checkpoint}, context)
    recipe = Recipe.from_dict(context.meta["recipe"])
    assert (recipe.precision, recipe.batch_invariant, recipe.reaches) == ("bf16", True, ("openvino",))
    assert str(simulate(loaded.model, recipe).dtype) == "torch.bfloat16"


def test_bf16_is_an_openvino_variant_of_half_the_size(
    plain_bundle: Artifact, run_step: Callable[..., Artifact]
) -> None:
    made = run_step(cast.run_bf16, CastConfig(), {"model": plain_bundle}, "bundle")
    variants = {variant["name"]: variant for variant in made.meta["variants"]}
    assert list(variants) == ["openvino-bf16", "openvino-fp32", "onnx-fp32"]
    weights = {name: (made.path / f"variants/{name}/model.bin").stat().st_size for name in list(variants)[:2]}
    assert weights["openvino-bf16"] < 0.6 * weights["openvino-fp32"]
    assert 0 < variants["openvino-bf16"]["parity"]["max_difference"] < variants["openvino-bf16"]["tolerance"]["max"]


def test_fp16_is_meant_for_cuda_and_neither_chosen_nor_measured_on_a_processor(
    plain_bundle: Artifact, run_step: Callable[..., Artifact], make_context: Callable[..., Any], recorder: Any
) -> None:
    made = run_step(cast.run_fp16, CastConfig(), {"model": plain_bundle}, "bundle")
    runtimes = PluginManager.load(third_party=False).runtimes()
    contract = Predictor.load(made.path, runtimes=runtimes, variant="onnx-fp32").contract
    assert contract.variants[0].name == "onnx-fp16"
    assert contract.variants[0].devices == ("cuda",)
    assert choose_variant(contract, runtimes)[0].name == "openvino-fp32"
    assert [candidate.variant for candidate in candidates_of(made, make_context())] == ["openvino-fp32", "onnx-fp32"]
    assert recorder.messages("warning") == ["onnx-fp16 is not meant for cpu, and was not measured"]
    named = Predictor.load(made.path, runtimes=runtimes, variant="onnx-fp16").logits(TEXTS)
    exact = Predictor.load(made.path, runtimes=runtimes, variant="onnx-fp32").logits(TEXTS)
    assert 0 < np.abs(named - exact).max() < 0.01


def test_target_cuda_adds_a_fused_fp16_variant(
    tiny_checkpoint: Artifact, tiny_dataset: Artifact, run_step: Callable[..., Artifact]
) -> None:
    inputs = {"model": tiny_checkpoint, "data": tiny_dataset}
    made = run_step(run_onnx, OnnxConfig(target="cuda"), inputs, "bundle")
    assert [variant["name"] for variant in made.meta["variants"]] == ["onnx-fp16", "onnx-fp32"]
    graph = onnx.load(str(made.path / "variants/onnx-fp16/model.onnx")).graph
    assert {"MultiHeadAttention", "SkipLayerNormalization"} <= {node.op_type for node in graph.node}
    assert graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    kinds = {tensor.data_type for tensor in graph.initializer if len(tensor.dims) == 2}
    assert onnx.TensorProto.FLOAT not in kinds
    assert onnx.TensorProto.FLOAT16 in kinds


def test_a_cast_that_no_variant_can_take_says_so(plain_bundle: Artifact, make_context: Callable[..., Any]) -> None:
    from dataclasses import replace

    variants = [variant for variant in plain_bundle.meta["variants"] if variant["format"] == "onnx"]
    manifest = replace(plain_bundle.manifest, meta={**plain_bundle.meta, "variants": variants})
    with pytest.raises(FtxError, match="no fp32 variant in openvino"):
        cast.run_bf16(CastConfig(), {"model": type(plain_bundle)(plain_bundle.path, manifest)}, make_context())


def test_a_processor_without_bf16_is_a_problem_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ModelSettings("tiny")
    monkeypatch.setattr(precision, "processor", lambda: "Some CPU [avx2 avx512f]")
    [problem] = check.check_bf16(CastConfig(), model)
    assert "no bf16" in problem.message
    monkeypatch.setattr(precision, "processor", lambda: "Some CPU [avx2 avx512_bf16]")
    assert not list(check.check_bf16(CastConfig(), model))
