"""The variants of each format: fp32 first, then what the recipe says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from ftx.step import load_by_name
from ftx_plugins.checkpoint import LoadedCheckpoint
from ftx_plugins.export import onnx_exporter, parity, torchscript
from ftx_plugins.export.config import ExportConfig, OnnxConfig
from ftx_plugins.export.onnx_half import cast_onnx
from ftx_plugins.export.onnx_quantizer import quantize_onnx
from ftx_plugins.export.onnx_static import quantize_onnx_static
from ftx_plugins.export.parity import HOLES, Outputs
from ftx_plugins.export.workshop import Blueprint, Workshop
from ftx_plugins.quantize.recipe import Recipe, lower_in_torch
from ftx_plugins.quantize.torch_session import TorchSession
from ftx_serving.contract import Variant

Fusing = Literal["cpu", "cuda"]


@dataclass
class Source:
    """The torch model that is exported, its recipe, and its own logits on the cases."""

    loaded: LoadedCheckpoint
    recipe: Recipe | None
    reference: Outputs
    config: ExportConfig
    temperature: float = 1.0
    """Of the model in fp32; its quantized variants take it over, whose logits are of the same size."""


def add_openvino(workshop: Workshop, source: Source) -> None:
    """`openvino-fp32`, and what the recipe makes of it."""
    from ftx_plugins.export import openvino_exporter

    model, inputs = source.loaded.model, trace_inputs(workshop)

    def write(file: Path) -> None:
        openvino_exporter.export_openvino(model, inputs, file, max_length=source.loaded.max_length)

    variant, fp32 = workshop.build(
        _blueprint("openvino", "fp32", write, temperature=source.temperature), source.reference, "torch", workshop.fp32
    )
    if source.recipe is not None and "openvino" in source.recipe.reaches:
        add_lowered(workshop, source.recipe, variant, fp32)


def add_onnx(workshop: Workshop, source: Source) -> None:
    """`onnx-fp32`, what the recipe makes of it, and `onnx-fp16` where a GPU is the target."""
    config = source.config if isinstance(source.config, OnnxConfig) else OnnxConfig()
    write = partial(_write_onnx, source, config, trace_inputs(workshop))
    fuse: Fusing | None = "cpu" if config.fuse else None
    blueprint = _blueprint(
        "onnx", "fp32", partial(write, fuse), devices=("cpu", "cuda"), temperature=source.temperature
    )
    variant, fp32 = workshop.build(blueprint, source.reference, "torch", workshop.fp32)
    recipe = source.recipe
    if config.target == "cuda":
        _add_for_cuda(workshop, partial(write, "cuda"), variant, fp32)
    if recipe is not None and "onnx" in recipe.reaches and not (config.target == "cuda" and recipe.precision == "fp16"):
        add_lowered(workshop, recipe, variant, fp32)


def _write_onnx(
    source: Source, config: OnnxConfig, inputs: dict[str, torch.Tensor], fuse: Fusing | None, file: Path
) -> None:
    onnx_exporter.export_onnx(
        source.loaded.model, inputs, file, max_length=source.loaded.max_length, opset=config.opset, fuse=fuse
    )


def _add_for_cuda(workshop: Workshop, write: Callable[[Path], None], fp32: Variant, fp32_outputs: Outputs) -> None:
    """`onnx-fp16`, fused for CUDA; compared on the processor, where ONNX Runtime has these operators too."""

    def write_half(file: Path) -> None:
        fused = workshop.context.work / "fused.onnx"
        write(fused)
        cast_onnx(fused, file)

    blueprint = _blueprint("onnx", "fp16", write_half, devices=("cuda",), temperature=fp32.temperature)
    tolerance = parity.quantized_tolerance(fp32_outputs, "fp16", workshop.jump)
    workshop.build(blueprint, fp32_outputs, fp32.name, tolerance)
    if workshop.context.device != "cuda":
        workshop.context.log("onnx-fp16 was compared on the processor; it was neither run nor timed on a GPU")


def add_lowered(workshop: Workshop, recipe: Recipe, fp32: Variant, fp32_outputs: Outputs) -> None:
    """The recipe carried out on the fp32 variant that is in the bundle."""
    path = workshop.draft.out / fp32.file
    lower = LOWERED[fp32.format]
    blueprint = _blueprint(
        fp32.format,
        recipe.precision,
        lambda file: lower(path, file, recipe),
        devices=("cuda",) if recipe.precision == "fp16" else ("cpu",),
        batch_invariant=recipe.batch_invariant,
        temperature=fp32.temperature,
    )
    tolerance = parity.quantized_tolerance(fp32_outputs, recipe.precision, workshop.jump)
    workshop.build(blueprint, fp32_outputs, fp32.name, tolerance)


def add_torchscript(workshop: Workshop, source: Source) -> None:
    """`torchscript-fp32`, and what the recipe makes of it."""
    inputs = trace_inputs(workshop)
    model = source.loaded.model
    blueprint = _blueprint(
        "torchscript",
        "fp32",
        lambda file: torchscript.save_torchscript(model, inputs, file),
        temperature=source.temperature,
    )
    variant, fp32 = workshop.build(blueprint, source.reference, "torch", workshop.fp32)
    if source.recipe is None or "torchscript" not in source.recipe.reaches:
        return
    quantized = lower_in_torch(model, source.recipe)
    blueprint = _blueprint(
        "torchscript",
        source.recipe.precision,
        lambda file: torchscript.save_torchscript(quantized, inputs, file),
        batch_invariant=source.recipe.batch_invariant,
        temperature=source.temperature,
    )
    exactly = parity.run_cases(TorchSession(quantized), workshop.cases)
    tolerance = parity.quantized_tolerance(fp32, jump=workshop.jump)
    workshop.build(blueprint, fp32, variant.name, tolerance, exactly)


FORMATS: Mapping[str, Callable[[Workshop, Source], None]] = {
    "openvino": add_openvino,
    "onnx": add_onnx,
    "torchscript": add_torchscript,
}


def _lower_onnx(source: Path, target: Path, recipe: Recipe) -> None:
    if recipe.scheme == "cast":
        cast_onnx(source, target)
    elif recipe.scheme == "static":
        quantize_onnx_static(source, target, recipe)
    else:
        quantize_onnx(source, target, recipe)


def _lower_openvino(source: Path, target: Path, recipe: Recipe) -> None:
    from ftx_plugins.export.openvino_quantizer import cast_openvino, quantize_openvino

    if recipe.scheme == "cast":
        cast_openvino(source, target)
    else:
        quantize_openvino(source, target, recipe)


LOWERED: Mapping[str, Callable[[Path, Path, Recipe], None]] = {"openvino": _lower_openvino, "onnx": _lower_onnx}
"""Format -> what carries out a recipe on its fp32 file."""


def trace_inputs(workshop: Workshop) -> dict[str, torch.Tensor]:
    """A real batch with padding and holes, as tensors: no branch for a full mask is taken in tracing."""
    [feed] = next(case.feeds for case in workshop.cases if case.name == HOLES)
    return {name: torch.from_numpy(values) for name, values in feed.items()}


_RUNTIMES = {
    "openvino": ("openvino", "model.xml", "ftx_serving.runtimes.openvino:load"),
    "onnx": ("onnxruntime", "model.onnx", "ftx_serving.runtimes.onnxruntime:load"),
    "torchscript": ("torchscript", "model.pt", "ftx_plugins.export.torchscript_runtime:load"),
}
"""Format -> the runtime that it is checked with, the file that this opens, and its `load`."""


def _blueprint(format: str, precision: str, write: Callable[[Path], Any], **facts: Any) -> Blueprint:
    runtime, file, load = _RUNTIMES[format]
    return Blueprint(format, precision, runtime, file, write, load_by_name(load), **facts)
