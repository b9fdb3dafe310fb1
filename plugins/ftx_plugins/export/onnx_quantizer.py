"""The adapter to ONNX Runtime's quantizer: dynamic recipes, and which nodes a recipe means."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from ftx.errors import ExitCode, FtxError
from ftx_plugins.export.onnx_exporter import LINEAR_LAYERS, SINGLE_FILE_BYTES
from ftx_plugins.quantize.recipe import Recipe

LINEAR = ("MatMul", "Gemm")
EMBEDDING = ("Gather",)
_QUANTIZED = ("MatMulInteger",)


def quantize_onnx(source: Path, target: Path, recipe: Recipe) -> int:
    """Carry out `recipe` on the fp32 model `source`, and write `target`; returns how many layers were quantized.

    Raises `FtxError` where a pattern of the recipe names a layer that the graph does not have by that name.
    """
    model = onnx.load(str(source))
    nodes = weighted_nodes(model.graph, (*LINEAR, *EMBEDDING) if recipe.embeddings else LINEAR)
    included = included_modules(model, nodes, recipe)
    names = [name for name in nodes if module_of(name) in included]
    # The quantizer turns a Gemm into a MatMul of this name before it looks names up.
    renamed = [f"{node.name}_MatMul" for node in model.graph.node if node.op_type == "Gemm" and node.name in names]
    _prepare(model)
    large = model.ByteSize() > SINGLE_FILE_BYTES
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        prepared = Path(folder) / "prepared.onnx"
        onnx.save_model(model, str(prepared), save_as_external_data=large)
        quantize_dynamic(
            str(prepared),
            str(target),
            op_types_to_quantize=[*LINEAR, *(EMBEDDING if recipe.embeddings else ())],
            per_channel=recipe.per_channel,
            reduce_range=recipe.reduce_range,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=[*names, *renamed],
            use_external_data_format=large,
        )
    _check(target, len(names), sum(1 for name in names if nodes[name] in LINEAR))
    return len(names)


def module_of(node_name: str) -> str:
    """The torch module that a node of an exported graph came from."""
    return node_name.partition("#")[0]


def included_modules(model: onnx.ModelProto, nodes: dict[str, str], recipe: Recipe) -> set[str]:
    """The modules to quantize, of those that the graph's `nodes` (name -> operator) bear the names of."""
    modules = list(dict.fromkeys(map(module_of, nodes)))
    layers = [name for prop in model.metadata_props if prop.key == LINEAR_LAYERS for name in json.loads(prop.value)]
    nameless = any(kind in LINEAR and module_of(name) not in layers for name, kind in nodes.items())
    merged = [name for name in layers if name not in modules] if nameless else []
    included = set(recipe.included([*modules, *merged]))
    if lost := [name for name in merged if name not in included]:
        raise FtxError(
            f"{', '.join(lost[:3])} cannot be left in fp32: the graph holds them merged with other layers",
            "export without fusing: --set export.fuse=false",
            "or change [quantize] exclude",
        )
    return included


def weighted_nodes(graph: onnx.GraphProto, kinds: tuple[str, ...]) -> dict[str, str]:
    """Name -> operator of the nodes whose weight is a constant: linear layers, and embeddings."""
    constants = {initializer.name for initializer in graph.initializer}
    return {
        node.name: node.op_type
        for node in graph.node
        if node.op_type in kinds and node.input[0 if node.op_type in EMBEDDING else 1] in constants
    }


def _prepare(model: onnx.ModelProto) -> None:
    """The quantizer transposes weights in place, and trips over shapes noted for them before."""
    constants = {initializer.name for initializer in model.graph.initializer}
    kept = [value for value in model.graph.value_info if value.name not in constants]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    # The exporter has folded constants and inferred shapes, which is what the quantizer would ask for.
    add_pre_process_metadata(model)


def _check(target: Path, wanted: int, linear: int) -> None:
    graph = onnx.load(str(target), load_external_data=False).graph
    found = sum(1 for node in graph.node if node.op_type in _QUANTIZED)
    if found != linear or not wanted:
        raise FtxError(
            f"ONNX Runtime's quantizer reached {found} of {linear} linear layers",
            "leave layers out by name: [quantize] exclude",
            code=ExitCode.STEP_FAILED,
        )
