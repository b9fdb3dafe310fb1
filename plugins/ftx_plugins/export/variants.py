"""The variants of each format: fp32 first, then what the recipe says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ftx_plugins.checkpoint import LoadedCheckpoint
from ftx_plugins.export import onnx_exporter, onnx_quantizer, parity, torchscript, torchscript_runtime
from ftx_plugins.export.config import ExportConfig, OnnxConfig
from ftx_plugins.export.parity import HOLES, Outputs, Tolerance
from ftx_plugins.export.workshop import Blueprint, Workshop
from ftx_plugins.quantize.recipe import Recipe, simulate
from ftx_serving.contract import Variant
from ftx_serving.runtimes import onnxruntime as onnxruntime_runtime

FP32 = Tolerance(parity.FP32_TOLERANCE)


@dataclass
class Source:
    """The torch model that is exported, its recipe, and its own logits on the cases."""

    loaded: LoadedCheckpoint
    recipe: Recipe | None
    reference: Outputs
    config: ExportConfig


class TorchSession:
    """A torch model as a session, so that it can be compared with others."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, **inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(values) for name, values in inputs.items()}
            logits: np.ndarray = self._model(**tensors).logits.numpy()
        return logits


def add_onnx(workshop: Workshop, source: Source) -> None:
    """`onnx-fp32`, and `onnx-int8` where there is a recipe."""

    def write(file: Path) -> None:
        opset = source.config.opset if isinstance(source.config, OnnxConfig) else None
        fuse = isinstance(source.config, OnnxConfig) and source.config.fuse
        onnx_exporter.export_onnx(
            source.loaded.model,
            trace_inputs(workshop),
            file,
            max_length=source.loaded.max_length,
            opset=opset,
            fuse=fuse,
        )

    blueprint = _onnx("fp32", write, devices=("cpu", "cuda"))
    variant, fp32 = workshop.build(blueprint, source.reference, "torch", FP32)
    if source.recipe is not None:
        add_quantized_onnx(workshop, source.recipe, variant, fp32)


def add_quantized_onnx(workshop: Workshop, recipe: Recipe, fp32: Variant, fp32_outputs: Outputs) -> None:
    """The recipe carried out on the fp32 variant that is in the bundle."""
    path = workshop.draft.out / fp32.file
    blueprint = _onnx(
        recipe.precision,
        lambda file: onnx_quantizer.quantize_onnx(path, file, recipe),
        batch_invariant=False,
    )
    workshop.build(blueprint, fp32_outputs, fp32.name, parity.quantized_tolerance(fp32_outputs))


def add_torchscript(workshop: Workshop, source: Source) -> None:
    """`torchscript-fp32`, and `torchscript-int8` where there is a recipe."""
    inputs = trace_inputs(workshop)
    model = source.loaded.model
    blueprint = _torchscript("fp32", lambda file: torchscript.save_torchscript(model, inputs, file))
    variant, fp32 = workshop.build(blueprint, source.reference, "torch", FP32)
    if source.recipe is None:
        return
    quantized = simulate(model, source.recipe)
    blueprint = _torchscript(
        source.recipe.precision,
        lambda file: torchscript.save_torchscript(quantized, inputs, file),
        batch_invariant=False,
    )
    exactly = parity.run_cases(TorchSession(quantized), workshop.cases)
    workshop.build(blueprint, fp32, variant.name, parity.quantized_tolerance(fp32), exactly)


FORMATS: Mapping[str, Callable[[Workshop, Source], None]] = {"onnx": add_onnx, "torchscript": add_torchscript}


def trace_inputs(workshop: Workshop) -> dict[str, torch.Tensor]:
    """A real batch with padding and holes, as tensors: no branch for a full mask is taken in tracing."""
    [feed] = next(case.feeds for case in workshop.cases if case.name == HOLES)
    return {name: torch.from_numpy(values) for name, values in feed.items()}


def _onnx(precision: str, write: Callable[[Path], Any], **facts: Any) -> Blueprint:
    return Blueprint("onnx", precision, "onnxruntime", "model.onnx", write, onnxruntime_runtime.load, **facts)


def _torchscript(precision: str, write: Callable[[Path], Any], **facts: Any) -> Blueprint:
    return Blueprint("torchscript", precision, "torchscript", "model.pt", write, torchscript_runtime.load, **facts)
