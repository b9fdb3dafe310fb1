"""A recipe carried out on OpenVINO's IR.

NNCF is not used: it calibrates anew, so that its numbers would be others than those of the simulation and of ONNX. Its
bias correction and its quantized products of attention bought nothing on a fine-tuned MiniLM (docs/decisions.md).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ftx.errors import FtxError
from ftx_plugins.export.onnx_quantizer import module_of
from ftx_plugins.export.openvino_exporter import embedding_nodes, linear_nodes, save_ir, weight_of
from ftx_plugins.quantize.levels import embedding_levels, input_levels, weight_levels
from ftx_plugins.quantize.recipe import LayerInput, LayerKey, Recipe
from ftx_serving.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops


def quantize_openvino(source: Path, target: Path, recipe: Recipe) -> int:
    """Carry out the static `recipe` on the fp32 IR `source`, and write `target`; returns the number of layers."""
    program = ov.Core().read_model(source)
    linear = linear_nodes(program)
    embeddings = embedding_nodes(program)
    reached = [*linear, *(embeddings if recipe.embeddings else ())]
    included = set(recipe.included(dict.fromkeys(map(module_of, reached))))
    chosen = {name: node for name, node in linear.items() if module_of(name) in included}
    tables = {name: node for name, node in embeddings.items() if recipe.embeddings and module_of(name) in included}
    if not chosen and not tables:
        raise FtxError("the recipe quantizes no layer of this model", "leave fewer out: [quantize] exclude")
    shared: dict[tuple[str, int, LayerKey], ov.Output] = {}
    for name, node in chosen.items():
        layer = recipe.input_of(module_of(name))
        levels, scales = weight_levels(weight_of(node), layer, recipe)
        node.input(0).replace_source_output(_quantized_input(node.input_value(0), layer, recipe, shared))
        # A constant in int8, widened and scaled: what OpenVINO takes for a weight that it may multiply by in int8.
        node.input(1).replace_source_output(_scaled(ops.constant(levels), ops.constant(scales[:, None])))
    for node in tables.values():
        _quantize_rows(node)
    program.validate_nodes_and_infer_types()
    save_ir(program, target, [*linear, *embeddings])
    return len(chosen) + len(tables)


def cast_openvino(source: Path, target: Path) -> None:
    """The fp32 IR `source` with its weights in fp16, half the size; the runtime computes in bf16."""
    program = ov.Core().read_model(source)
    save_ir(program, target, [*linear_nodes(program), *embedding_nodes(program)], half=True)


def _quantized_input(
    source: ov.Output, layer: LayerInput, recipe: Recipe, shared: dict[tuple[str, int, LayerKey], ov.Output]
) -> ov.Output:
    """`source` through its levels; layers that share an input and its quantizer share the nodes."""
    divisors = layer.divisors
    owner = source.get_node().get_friendly_name()
    key = (owner, source.get_index(), layer.key)
    if key not in shared:
        divided = source if divisors is None else ops.multiply(source, _row(1 / divisors, source)).output(0)
        found = input_levels(layer, recipe)
        low, high = ops.constant(found.low), ops.constant(found.high)
        levels = found.highest - found.lowest + 1
        shared[key] = ops.fake_quantize(divided, low, high, low, high, levels).output(0)
    return shared[key]


def _row(values: np.ndarray, source: ov.Output) -> ov.Node:
    """`values` in the rank of `source`, along its last axis."""
    rank = source.get_partial_shape().rank.get_length()
    return ops.constant(values.reshape((1,) * (rank - 1) + (-1,)))


def _quantize_rows(node: ov.Node) -> None:
    """An embedding that looks up int8 levels and each row's scale, and multiplies afterwards.

    Scaled before the look-up, the whole table would be one of fp32 again as soon as it is compiled.
    """
    name, readers = node.get_friendly_name(), list(node.output(0).get_target_inputs())
    levels, scales = embedding_levels(weight_of(node))
    rows, axis = node.input_value(1), node.input_value(2)
    picked = ops.gather(ops.constant(levels), rows, axis)
    picked.set_friendly_name(name)
    values = _scaled(picked, ops.gather(ops.constant(scales[:, None]), rows, axis))
    for reader in readers:
        reader.replace_source_output(values)


def _scaled(levels: ov.Node, scale: ov.Node) -> ov.Output:
    """levels · scale, in floats."""
    return ops.multiply(ops.convert(levels, "f32"), scale).output(0)
