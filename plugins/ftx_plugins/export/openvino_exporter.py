"""The adapter to OpenVINO's conversion, through the experimental `transformers.exporters`."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ftx_plugins.checkpoint import quiet_transformers
from ftx_plugins.export.onnx_exporter import MOST_ROWS
from ftx_serving.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov
    from transformers.exporters import OpenVINOConfig, OpenVINOExporter

NAME = "encoder"


def export_openvino(model: Any, inputs: dict[str, torch.Tensor], file: Path, *, max_length: int) -> None:
    """Write `model` as fp32 IR to `file` (`.xml`, the weights beside it), any batch and length up to `max_length`.

    `inputs` are int64 of shape (batch, length), both at least 2. The bound of the length stands in the inputs' shapes,
    and the multiplications of linear layers bear the names of their torch modules, so that a recipe can name them.
    """
    shapes = {0: torch.export.Dim("batch", min=1, max=MOST_ROWS), 1: torch.export.Dim("length", min=1, max=max_length)}
    config = OpenVINOConfig(dynamic_shapes={name: dict(shapes) for name in inputs})
    with _quiet(), without_telemetry():
        program = OpenVINOExporter().export(model, inputs, config).program
    bounded = ov.PartialShape([ov.Dimension(-1), ov.Dimension(1, max_length)])
    program.reshape({value.any_name: bounded for value in program.inputs})
    _name_layers(program, model)
    save_ir(program, file, [*linear_nodes(program), *embedding_nodes(program)])


def save_ir(program: ov.Model, file: Path, layers: Iterable[str], *, half: bool = False) -> None:
    """Write `program` to `file`; its weights as they are, or (`half`) those in fp32 as fp16.

    The same model gives the same bytes: names that OpenVINO made up, with numbers that go on through the life of the
    process, are replaced by others. Those of `layers` stay.
    """
    program.set_friendly_name(NAME)
    kept = set(layers)
    for place, node in enumerate(program.get_ordered_ops()):
        if node.get_friendly_name() not in kept and node.get_type_name() != "Parameter":
            node.set_friendly_name(f"{node.get_type_name()}.{place}")
    ov.save_model(program, str(file), compress_to_fp16=half)


def linear_nodes(program: ov.Model) -> dict[str, ov.Node]:
    """Name -> multiplication by a constant fp32 weight of shape (out, in), in the order in which they were traced."""
    nodes = [
        node
        for node in program.get_ordered_ops()
        if node.get_type_name() == "MatMul"
        and node.input_value(1).get_node().get_type_name() == "Constant"
        and node.input_value(1).get_element_type() == ov.Type.f32
        and node.get_attributes()["transpose_b"]
    ]
    return {node.get_friendly_name(): node for node in sorted(nodes, key=_tracing_order)}


def embedding_nodes(program: ov.Model) -> dict[str, ov.Node]:
    """Name -> look-up in a constant fp32 table of shape (rows, channels), in the order in which they were traced."""
    nodes = [
        node
        for node in program.get_ordered_ops()
        if node.get_type_name() == "Gather"
        and node.input_value(0).get_node().get_type_name() == "Constant"
        and node.input_value(0).get_element_type() == ov.Type.f32
        and len(node.input_value(0).get_shape()) == 2
    ]
    return {node.get_friendly_name(): node for node in sorted(nodes, key=_tracing_order)}


def weight_of(node: ov.Node) -> np.ndarray:
    """The weight of a linear layer, float32 of shape (out, in), or of an embedding, (rows, channels)."""
    place = 1 if node.get_type_name() == "MatMul" else 0
    return np.array(node.input_value(place).get_node().get_data(), dtype=np.float32)


def _name_layers(program: ov.Model, model: torch.nn.Module) -> None:
    """Name what multiplies by a linear layer's weight, or looks up in an embedding, after its torch module.

    The conversion keeps no module names, but it keeps weights bit by bit. Where weights are equal, modules and nodes
    pair up in their orders; a module that is called more than once (ALBERT shares its layers) gives `name`, `name#2`
    and so on, as in ONNX. A node that is no module's (a table of constants) keeps its name.
    """
    for kind, nodes in ((torch.nn.Linear, linear_nodes(program)), (torch.nn.Embedding, embedding_nodes(program))):
        weights = {
            name: module.get_parameter("weight").detach().numpy()
            for name, module in model.named_modules()
            if type(module) is kind
        }
        used: dict[str, int] = {}
        for node in nodes.values():
            weight = weight_of(node)
            owners = [name for name, other in weights.items() if np.array_equal(weight, other)]
            if owners:
                name = min(owners, key=lambda owner: used.get(owner, 0))
                count = used[name] = used.get(name, 0) + 1
                node.set_friendly_name(name if count == 1 else f"{name}#{count}")


def _tracing_order(node: ov.Node) -> list[Any]:
    """By the numbers in the name: `linear_2/…` before `linear_10/…`."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", node.get_friendly_name())]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the exporter's notices of versions that it was not tried with: the parity checks judge the result."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with quiet_transformers(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
