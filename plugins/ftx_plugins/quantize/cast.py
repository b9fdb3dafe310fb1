"""`quantize:bf16` and `quantize:fp16`: the whole model in a float type of 16 bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ftx.artifacts import Artifact, Bundle
from ftx.step import Context
from ftx_plugins.checkpoint import load_checkpoint
from ftx_plugins.export.lower import lower_bundle
from ftx_plugins.quantize.config import CastConfig
from ftx_plugins.quantize.deciding import refuse_quantized, write_recipe
from ftx_plugins.quantize.recipe import Recipe

MEBIBYTE = 2**20


def run_bf16(config: CastConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """bf16 for OpenVINO on processors that have it."""
    return _run("bf16", inputs, context)


def run_fp16(config: CastConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """fp16 for ONNX Runtime on CUDA GPUs."""
    if context.device != "cuda":
        context.log("fp16 is for CUDA GPUs: on this machine the variant is made and compared, not timed")
    return _run("fp16", inputs, context)


def _run(kind: Literal["bf16", "fp16"], inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    model = inputs["model"]
    refuse_quantized(model)
    recipe = Recipe(scheme="cast", activations=kind, weights=kind)
    if isinstance(model, Bundle):
        return lower_bundle(model, recipe, context)
    loaded = load_checkpoint(model.path, trust_remote_code=context.model.trust_remote_code)
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    write_recipe(model, recipe, context)
    return {
        "size_mb_before": round(4 * parameters / MEBIBYTE, 2),
        "size_mb_after": round(2 * parameters / MEBIBYTE, 2),
    }
