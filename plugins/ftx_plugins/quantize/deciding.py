"""What the calibrated quantize steps share: opening the model, choosing a recipe, writing it down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ftx.artifacts import MANIFEST, Artifact, Bundle
from ftx.errors import FtxError
from ftx.hashing import hash_file
from ftx.step import Context
from ftx_plugins.checkpoint import load_checkpoint
from ftx_plugins.data.splits import load_split
from ftx_plugins.export.files import carry_over
from ftx_plugins.export.lower import fp32_variants, lower_bundle
from ftx_plugins.export.tokenizer import backend_tokenizer, contract_of
from ftx_plugins.quantize import calibration
from ftx_plugins.quantize.calibration import Calibrator
from ftx_plugins.quantize.config import StaticConfig
from ftx_plugins.quantize.recipe import Calibration, Recipe
from ftx_plugins.quantize.samples import Samples, read_samples
from ftx_plugins.quantize.subjects import OnnxSubject, Subject, TorchSubject
from ftx_serving.contract import TOKENIZER_FILE, Contract
from ftx_serving.encoder import TextEncoder

STRENGTHS = (0.0, 0.75, 0.9)
"""Of smoothing, that `auto` tries. Half, which SmoothQuant's authors use on decoders, was worse than none on a BERT,
whose largest inputs are a few channels in every token."""
METHODS: tuple[Calibration, ...] = ("min-max", "percentile", "entropy")


@dataclass(frozen=True)
class Workbench:
    """The model to quantize, and the rows to do it by."""

    subject: Subject
    samples: Samples


def refuse_quantized(model: Artifact) -> None:
    """Raise `FtxError` where the model has a recipe already."""
    if model.meta.get("recipe"):
        raise FtxError(
            f"this {model.kind} is quantized already: it has a {model.meta['recipe'].get('scheme')} recipe",
            "quantize once: leave one of the quantize steps out",
            "or start from the model before it",
        )


def open_workbench(
    inputs: Mapping[str, Artifact], config: StaticConfig, context: Context, *, held_out: int = 0
) -> Workbench:
    """The input `model` (a checkpoint, or a bundle with an fp32 ONNX variant) and rows of the input `data`."""
    model = inputs["model"]
    refuse_quantized(model)
    data = inputs["data"]
    pair = "text_pair" in load_split(data, "train").column_names
    opened = _open_bundle(model, config, context) if isinstance(model, Bundle) else _open(model, data, pair, context)
    subject, encoder = opened
    return Workbench(subject, read_samples(data, encoder, context, config, held_out=held_out))


def choose_recipe(
    bench: Workbench, config: StaticConfig, data: Artifact, context: Context
) -> tuple[Recipe, list[dict[str, Any]]]:
    """The calibrated recipe, and what was tried: `calibration`, `smooth`, and `kl` on the rows to choose by.

    Strengths of smoothing are tried with min-max, then the other methods with the best of them.
    """
    plain = replace(config.recipe(), rows=len(bench.samples.calibration), data=_digest(config, data))
    if not bench.subject.modules(plain):
        raise FtxError("the recipe quantizes no layer of this model", "leave fewer out: [quantize] exclude")
    calibrator = Calibrator(
        bench.subject,
        bench.samples.calibration.feeds(),
        lambda done, total: context.progress(done, total, "batches", doing="calibration"),
    )
    expected = bench.samples.choice.logits(bench.subject.session(None))
    tried: list[tuple[float, Recipe]] = []

    def attempt(method: Calibration, smooth: float) -> None:
        inputs = calibrator.inputs(method, smooth, config.percentile)
        recipe = replace(plain, calibration=method, smooth=smooth, inputs=inputs)
        kl = bench.samples.choice.divergence(expected, bench.subject.session(recipe))
        tried.append((kl, recipe))
        context.log(f"{method}, smooth {smooth:g}: KL {kl:.2g} from fp32 on {len(bench.samples.choice)} rows")

    first, *others = METHODS if config.calibration == "auto" else (config.calibration,)
    for strength in STRENGTHS if config.smooth == "auto" else (config.smooth,):
        attempt(first, strength)
    for method in others:
        attempt(method, _nearest(tried).smooth)
    figures = [
        {"calibration": recipe.calibration, "smooth": recipe.smooth, "kl": float(f"{kl:.3g}")} for kl, recipe in tried
    ]
    return _nearest(tried), figures


def write_recipe(model: Artifact, recipe: Recipe, context: Context) -> None:
    """Make the step's artifact the checkpoint `model` with the recipe in its manifest."""
    carry_over(model.path, context.out, [name for name in model.manifest.files if name != MANIFEST])
    context.describe(**{**model.meta, "recipe": recipe.to_dict()})


def write_down(inputs: Mapping[str, Artifact], recipe: Recipe, bench: Workbench, context: Context) -> dict[str, Any]:
    """Put the recipe into the checkpoint, or carry it out on the bundle; returns what there is to say of it."""
    model = inputs["model"]
    weights = bench.subject.weights()
    layers = [name for name in bench.subject.modules(recipe) if name in weights]
    share = sum(weights[name].size for name in layers) / sum(weight.size for weight in weights.values())
    facts = {
        "layers": len(layers),
        "linear_parameters_share": round(share, 4),
        "calibration": recipe.calibration,
        "smooth": recipe.smooth,
        "calibration_rows": recipe.rows,
    }
    if isinstance(model, Bundle):
        return facts | lower_bundle(model, recipe, context)
    write_recipe(model, recipe, context)
    calibration.save_inputs(recipe.inputs, context.out / calibration.FILE)
    context.log(
        f"static int8 for {len(layers)} layers, {share:.0%} of the linear layers' parameters: "
        f"{recipe.calibration} ranges from {recipe.rows} rows, smooth {recipe.smooth:g}"
    )
    return facts


def _digest(config: StaticConfig, data: Artifact) -> str:
    """Of what calibrates: the data set, or the file."""
    return hash_file(Path(config.calibration_data)).sha256 if config.calibration_data else data.digest


def _open(model: Artifact, data: Artifact, pair: bool, context: Context) -> tuple[Subject, TextEncoder]:
    loaded = load_checkpoint(model.path, trust_remote_code=context.model.trust_remote_code)
    contract = contract_of(loaded, pair=pair, tolerance=data.meta.get("tolerance"))
    return TorchSubject(loaded.model), TextEncoder(backend_tokenizer(loaded), contract)


def _open_bundle(bundle: Bundle, config: StaticConfig, context: Context) -> tuple[Subject, TextEncoder]:
    sources = [variant for variant in fp32_variants(bundle, config.recipe()) if variant.format == "onnx"]
    if not sources:
        raise FtxError(
            "the bundle has no fp32 ONNX variant to calibrate on",
            "export it as well: ftx run export:onnx export:openvino quantize:static",
            "or quantize before the export: ftx run train quantize:static export",
        )
    encoder = TextEncoder.from_file(bundle.path / TOKENIZER_FILE, Contract.from_meta(bundle.meta))
    return OnnxSubject(bundle.path / sources[0].file, context.work), encoder


def _nearest(tried: Sequence[tuple[float, Recipe]]) -> Recipe:
    return min(tried, key=lambda one: one[0])[1]
