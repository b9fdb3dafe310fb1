"""The export steps: one path, over one format or several."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from ftx.artifacts import Artifact, Bundle
from ftx.step import Context
from ftx_plugins.checkpoint import load_checkpoint
from ftx_plugins.ensemble import describe_ensemble, vote_jump
from ftx_plugins.export import parity
from ftx_plugins.export.config import BundleConfig, ExportConfig, OnnxConfig, OpenvinoConfig, TorchscriptConfig
from ftx_plugins.export.draft import Draft
from ftx_plugins.export.operations import count_operations
from ftx_plugins.export.profile import profile_of
from ftx_plugins.export.rows import read_rows, spread_by_length, texts_of
from ftx_plugins.export.temperature import temperature_of
from ftx_plugins.export.tokenizer import backend_tokenizer, check_tokenizer, contract_of
from ftx_plugins.export.variants import FORMATS, Source
from ftx_plugins.export.workshop import Workshop
from ftx_plugins.quantize.calibration import load_recipe
from ftx_plugins.quantize.recipe import Recipe
from ftx_plugins.quantize.torch_session import TorchSession
from ftx_serving.contract import Contract
from ftx_serving.encoder import TextEncoder

Inputs = Mapping[str, Artifact]


def run_bundle(config: BundleConfig, inputs: Inputs, context: Context) -> dict[str, Any]:
    """Export the formats of the configuration."""
    return _export(config, config.formats, inputs, context)


def run_onnx(config: OnnxConfig, inputs: Inputs, context: Context) -> dict[str, Any]:
    return _export(config, ("onnx",), inputs, context)


def run_openvino(config: OpenvinoConfig, inputs: Inputs, context: Context) -> dict[str, Any]:
    return _export(config, ("openvino",), inputs, context)


def run_torchscript(config: TorchscriptConfig, inputs: Inputs, context: Context) -> dict[str, Any]:
    return _export(config, ("torchscript",), inputs, context)


def _export(config: ExportConfig, formats: Sequence[str], inputs: Inputs, context: Context) -> dict[str, Any]:
    """Make the variants; those of other formats in the bundle before it, if that is of the same model, are kept."""
    model, data = inputs["model"], inputs["data"]
    loaded = load_checkpoint(model.path, trust_remote_code=context.model.trust_remote_code)
    recipe = load_recipe(model)
    _say_what_is_not_reached(recipe, formats, context)
    rows = read_rows(data)
    contract = contract_of(
        loaded,
        pair=rows[0].pair is not None,
        tolerance=data.meta.get("tolerance"),
        long_text=config.long_text,
        abstain_below=config.abstain_below,
    )
    encoder = TextEncoder(backend_tokenizer(loaded), contract)
    lengths = [len(encoding) for encoding in encoder.encode(*texts_of(rows))]
    tried = spread_by_length(rows, lengths, config.parity_texts)
    check_tokenizer(loaded, encoder, tried)

    cases = parity.make_cases(encoder, tried, context.seed)
    reference = parity.run_cases(TorchSession(loaded.model), cases)
    draft = _earlier_bundle(inputs, formats, contract, context)
    if draft is None:
        draft = Draft.start(context.out, loaded, encoder, spread_by_length(rows, lengths, config.golden_texts))
    ensemble = describe_ensemble(loaded.model.config)
    jump = vote_jump(ensemble, len(loaded.labels))
    workshop = Workshop(draft, cases, context, total=_planned(config, recipe, formats), jump=jump)
    temperature = temperature_of(loaded, data, config.temperature_rows, context)
    for name in formats:
        FORMATS[name](workshop, Source(loaded, recipe, reference, config, temperature))
    draft.finish(
        context,
        lineage={"model": model.digest, "data": data.digest},
        recipe=recipe.to_dict() if recipe else None,
        base=model.meta.get("base"),
        operations=count_operations(loaded.model),
        profile=profile_of(loaded, encoder, data, context.seed),
        **({"ensemble": ensemble} if ensemble else {}),
    )
    return {"variants": workshop.metrics, "temperature": temperature}


def _planned(config: ExportConfig, recipe: Recipe | None, formats: Sequence[str]) -> int:
    """How many variants there will be."""
    lowered = {name for name in formats if recipe is not None and name in recipe.reaches}
    for_cuda = "onnx" in formats and isinstance(config, OnnxConfig) and config.target == "cuda"
    cast_already = recipe is not None and recipe.precision == "fp16" and "onnx" in lowered
    return len(formats) + len(lowered) + int(for_cuda and not cast_already)


def _say_what_is_not_reached(recipe: Recipe | None, formats: Sequence[str], context: Context) -> None:
    if recipe is None:
        return
    what = f"{recipe.scheme} {recipe.precision}"
    for name in formats:
        if name not in recipe.reaches:
            context.log(f"{name} gets fp32 alone: a {what} recipe cannot be carried out for it")
    if "openvino" in recipe.reaches and "openvino" not in formats and find_spec("openvino"):
        also = json.dumps(["openvino", *formats])
        context.log(f"OpenVINO is installed and can run this {what} recipe: --set 'export.formats={also}'")


def _earlier_bundle(inputs: Inputs, formats: Sequence[str], contract: Contract, context: Context) -> Draft | None:
    bundle = inputs.get("bundle")
    if not isinstance(bundle, Bundle):
        return None
    if bundle.meta.get("lineage", {}).get("model") != inputs["model"].digest:
        context.log("the bundle exported before is of another model: a new one is begun")
        return None
    before = Contract.from_meta(bundle.meta)
    if (before.long_text, before.abstain_below) != (contract.long_text, contract.abstain_below):
        context.log("the bundle exported before answers long or doubtful texts otherwise: a new one is begun")
        return None
    return Draft.extend(context.out, bundle, without=formats)
