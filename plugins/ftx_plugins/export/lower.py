"""A recipe carried out on a bundle that is already exported."""

from __future__ import annotations

from typing import Any

from ftx.artifacts import Bundle
from ftx.errors import FtxError
from ftx.step import Context, load_by_name
from ftx_plugins.ensemble import vote_jump
from ftx_plugins.export import parity
from ftx_plugins.export.draft import Draft
from ftx_plugins.export.variants import LOWERED, add_lowered
from ftx_plugins.export.workshop import Workshop
from ftx_plugins.quantize.recipe import Recipe
from ftx_serving.choice import KEY
from ftx_serving.contract import Contract, Variant


def lower_bundle(bundle: Bundle, recipe: Recipe, context: Context) -> dict[str, Any]:
    """Add the recipe's variants, made from the bundle's fp32 ones; the golden examples are the real texts.

    Raises `FtxError` where the bundle has no fp32 variant that the recipe can be carried out on: TorchScript cannot be
    quantized once it is traced.
    """
    sources = fp32_variants(bundle, recipe)
    draft = Draft.extend(context.out, bundle)
    cases = parity.make_cases(draft.encoder, draft.rows, context.seed)
    jump = vote_jump(bundle.meta.get("ensemble"), len(draft.encoder.contract.labels))
    workshop = Workshop(draft, cases, context, total=len(sources), jump=jump)
    for variant in sources:
        load = load_by_name(context.plugins.runtimes()[variant.runtime].load)
        add_lowered(workshop, recipe, variant, parity.run_cases(load(draft.out, variant.to_dict()), cases))
    # A choice among the variants that there were is none among those that there are now.
    kept = {name: fact for name, fact in bundle.meta.items() if name != KEY}
    draft.finish(context, **{**kept, "recipe": recipe.to_dict()})
    return {"variants": workshop.metrics}


def fp32_variants(bundle: Bundle, recipe: Recipe) -> list[Variant]:
    """The bundle's fp32 variants that `recipe` can be carried out on; `FtxError` if there are none."""
    formats = [name for name in recipe.reaches if name in LOWERED]
    variants = Contract.from_meta(bundle.meta).variants
    found = [variant for variant in variants if variant.format in formats and variant.precision == "fp32"]
    if not found:
        raise FtxError(
            f"the bundle has no fp32 variant in {' or '.join(formats)}, the only ones that can still be quantized so",
            "quantize before the export: ftx run train quantize export",
        )
    return found
