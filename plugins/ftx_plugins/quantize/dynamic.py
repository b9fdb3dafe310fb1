"""`quantize:dynamic`: on a checkpoint it decides on the recipe, on a bundle it lowers it onto the ONNX variant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftx.artifacts import Artifact, Bundle
from ftx.errors import FtxError
from ftx.step import Context
from ftx_plugins.checkpoint import load_checkpoint
from ftx_plugins.export.lower import lower_bundle
from ftx_plugins.quantize import torch_dynamic
from ftx_plugins.quantize.config import DynamicConfig
from ftx_plugins.quantize.deciding import refuse_quantized, write_recipe
from ftx_plugins.quantize.recipe import Recipe

MEBIBYTE = 2**20
WORST = 3


def run(config: DynamicConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Decide on a checkpoint, or lower on a bundle. `FtxError` where the model has a recipe already."""
    model = inputs["model"]
    refuse_quantized(model)
    recipe = config.recipe()
    if isinstance(model, Bundle):
        return lower_bundle(model, recipe, context)
    return _decide(model, recipe, context)


def _decide(model: Artifact, recipe: Recipe, context: Context) -> dict[str, Any]:
    loaded = load_checkpoint(model.path, trust_remote_code=context.model.trust_remote_code)
    layers = torch_dynamic.measure(loaded.model, recipe)
    if not layers:
        raise FtxError("the recipe quantizes no layer of this model", "leave fewer out: [quantize] exclude")
    write_recipe(model, recipe, context)

    total = sum(parameter.numel() for parameter in loaded.model.parameters())
    quantized = sum(layer.parameters for layer in layers)
    worst = sorted(layers, key=lambda layer: -layer.error)[:WORST]
    context.log(f"int8 for {len(layers)} layers, {quantized / total:.0%} of the parameters")
    return {
        "layers": len(layers),
        "parameters_share": round(quantized / total, 4),
        "size_mb_before": round(4 * total / MEBIBYTE, 2),
        "size_mb_after": round((4 * (total - quantized) + quantized) / MEBIBYTE, 2),
        "weight_error_worst": {layer.name: round(layer.error, 5) for layer in worst},
    }
