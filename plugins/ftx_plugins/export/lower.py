"""A recipe carried out on a bundle that is already exported."""

from __future__ import annotations

from typing import Any

from ftx.artifacts import Bundle
from ftx.errors import FtxError
from ftx.step import Context
from ftx_plugins.export import parity
from ftx_plugins.export.draft import Draft
from ftx_plugins.export.variants import add_quantized_onnx
from ftx_plugins.export.workshop import Workshop
from ftx_plugins.quantize.recipe import Recipe
from ftx_serving.runtimes import onnxruntime as onnxruntime_runtime


def lower_bundle(bundle: Bundle, recipe: Recipe, context: Context) -> dict[str, Any]:
    """Add the recipe's variant, made from the bundle's fp32 ONNX variant; the golden examples are the real texts.

    Raises `FtxError` where the bundle has no fp32 ONNX variant: TorchScript cannot be quantized once it is traced.
    """
    draft = Draft.extend(context.out, bundle)
    sources = [variant for variant in draft.variants if variant.format == "onnx" and variant.precision == "fp32"]
    if not sources:
        raise FtxError(
            "the bundle has no fp32 ONNX variant, the only one that can still be quantized",
            "quantize before the export: ftx run train quantize export",
        )
    [fp32] = sources
    cases = parity.make_cases(draft.encoder, draft.rows, context.seed)
    session = onnxruntime_runtime.load(draft.out, fp32.to_dict())
    workshop = Workshop(draft, cases, context, total=1)
    add_quantized_onnx(workshop, recipe, fp32, parity.run_cases(session, cases))
    draft.finish(context, **{**bundle.meta, "recipe": recipe.to_dict()})
    return {"variants": workshop.metrics}
