"""The adapter to `transformers.exporters`, which is experimental: nothing else in ftx imports it."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import onnx
import onnx_ir
import torch
from transformers.exporters import OnnxConfig, OnnxExporter

from ftx_plugins.checkpoint import quiet_transformers

SINGLE_FILE_BYTES = 1_900_000_000
"""Weights beyond this go into a file of their own: a protobuf message holds less than 2 GiB."""
MOST_ROWS = 4096
LINEAR_LAYERS = "ftx.linear_layers"
"""Where the model's metadata keeps the names of all linear layers: fusing merges some, and loses their names."""
_SCOPES = "pkg.torch.onnx.name_scopes"
_WEIGHTED = {"MatMul": 1, "Gemm": 1, "Gather": 0}
"""Operators of linear layers and embeddings, and which input is the weight."""


def export_onnx(
    model: Any,
    inputs: dict[str, torch.Tensor],
    file: Path,
    *,
    max_length: int,
    opset: int | None = None,
    fuse: Literal["cpu", "cuda"] | None = None,
) -> None:
    """Write `model` as ONNX to `file`, any batch and any length up to `max_length` (tokens).

    `inputs` are int64 of shape (batch, length), both at least 2: a size of 1 would be taken for a constant. The nodes
    of linear layers and embeddings bear the names of their torch modules, so that a recipe can name them. `fuse` makes
    operators of ONNX Runtime's own for that device.
    """
    shapes = {0: torch.export.Dim("batch", min=1, max=MOST_ROWS), 1: torch.export.Dim("length", min=1, max=max_length)}
    config = OnnxConfig(
        dynamic_shapes={name: dict(shapes) for name in inputs},
        opset_version=opset,
        ort_fusions=fuse,
    )
    with _quiet():
        program = OnnxExporter().export(model, inputs, config).program
    _name_axes(program)
    _name_nodes(program.graph)
    _drop_metadata(program)
    program.metadata_props[LINEAR_LAYERS] = json.dumps(_linear_layers(model))
    weights = sum(value.const_value.nbytes for value in program.graph.initializers.values() if value.const_value)
    onnx_ir.save(program, str(file), external_data=f"{file.name}.data" if weights > SINGLE_FILE_BYTES else None)


def save_onnx(model: onnx.ModelProto, file: Path) -> None:
    """Write a model that was changed to `file`; a large one with its weights beside it."""
    large = model.ByteSize() > SINGLE_FILE_BYTES
    onnx.save_model(model, str(file), save_as_external_data=large, location=f"{file.name}.data" if large else None)


def _linear_layers(model: torch.nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if type(module) is torch.nn.Linear]


def _name_axes(program: onnx_ir.Model) -> None:
    """Call the free axes `batch` and `length`, not what the tracer called them."""
    batch, length = program.graph.inputs[0].shape
    names = {str(batch.value): "batch", str(length.value): "length"}
    values = [*program.graph.inputs, *(value for node in program.graph for value in node.outputs)]
    for value in values:
        if value.shape is not None and not value.shape.frozen:
            for axis, size in enumerate(value.shape):
                if not isinstance(size, int) and str(size.value) in names:
                    value.shape[axis] = names[str(size.value)]


def _name_nodes(graph: onnx_ir.Graph) -> None:
    used: dict[str, int] = {}
    for node in graph:
        place = _WEIGHTED.get(node.op_type)
        scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))
        if place is None or len(scopes) < 2 or not scopes[-2] or not node.inputs[place].is_initializer():
            continue
        # A module that is called more than once (ALBERT shares its layers) has more than one node.
        count = used[scopes[-2]] = used.get(scopes[-2], 0) + 1
        node.name = scopes[-2] if count == 1 else f"{scopes[-2]}#{count}"


def _drop_metadata(program: onnx_ir.Model) -> None:
    """Stack traces and the like: large, and they name folders of the machine that exported."""
    program.metadata_props.clear()
    program.graph.metadata_props.clear()
    for node in program.graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*program.graph.inputs, *program.graph.initializers.values()):
        value.metadata_props.clear()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the exporter's progress prints, version notices and warnings: the parity checks judge the result."""
    exporter_log = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)
    try:
        with quiet_transformers(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter_log.setLevel(level)
