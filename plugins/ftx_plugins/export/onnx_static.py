"""A static recipe carried out on an ONNX graph: QuantizeLinear and DequantizeLinear around linear layers.

ONNX Runtime's `quantize_static` is not used: it knows no divisors of channels, chooses its ranges anew, and has the
outputs of linear layers quantized as well by default. From this graph ONNX Runtime makes integer multiplications
(MatMulIntegerToFloat) whose outputs are floats.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ftx.errors import ExitCode, FtxError
from ftx_plugins.export.onnx_exporter import save_onnx
from ftx_plugins.export.onnx_quantizer import EMBEDDING, LINEAR, included_modules, module_of, weighted_nodes
from ftx_plugins.quantize.levels import Levels, embedding_levels, input_levels, weight_levels
from ftx_plugins.quantize.recipe import LayerInput, LayerKey, Recipe


def quantize_onnx_static(source: Path, target: Path, recipe: Recipe) -> int:
    """Carry out the static `recipe` on the fp32 model `source`, and write `target`; returns the number of layers."""
    model = onnx.load(str(source))
    kinds = weighted_nodes(model.graph, (*LINEAR, *EMBEDDING) if recipe.embeddings else LINEAR)
    included = included_modules(model, kinds, recipe)
    names = {name for name in kinds if module_of(name) in included}
    if not names:
        raise FtxError("the recipe quantizes no layer of this graph", "leave fewer out: [quantize] exclude")
    _Rewriter(model.graph, recipe).rewrite(names)
    save_onnx(model, target)
    return len(names)


def weight_of(node: onnx.NodeProto, constant: np.ndarray) -> np.ndarray:
    """The weight of a linear layer's node, float32 of shape (out, in)."""
    if node.op_type == "MatMul":
        return constant.T
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    plain = (attributes.get("alpha", 1.0), attributes.get("beta", 1.0), attributes.get("transA", 0)) == (1.0, 1.0, 0)
    if not plain:
        raise FtxError(
            f"the graph's {node.name} is not a plain linear layer",
            "leave it out: [quantize] exclude",
            code=ExitCode.STEP_FAILED,
        )
    return constant if attributes.get("transB", 0) else constant.T


@dataclass
class _Rewriter:
    """Puts new nodes in the place of the named ones."""

    graph: onnx.GraphProto
    recipe: Recipe
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    quantized: dict[tuple[str, LayerKey], str] = field(default_factory=dict)
    """An input and how it is quantized -> the name of what comes out: layers that share an input share this."""

    def rewrite(self, names: set[str]) -> None:
        constants = {tensor.name: tensor for tensor in self.graph.initializer}
        for node in self.graph.node:
            if node.name not in names:
                self.nodes.append(node)
            elif node.op_type in EMBEDDING:
                self._embedding(node, numpy_helper.to_array(constants[node.input[0]]))
            else:
                self._linear(node, weight_of(node, numpy_helper.to_array(constants[node.input[1]])))
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        used = {name for node in self.graph.node for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)

    def _linear(self, node: onnx.NodeProto, weight: np.ndarray) -> None:
        layer = self.recipe.input_of(module_of(node.name))
        levels, scales = weight_levels(weight, layer, self.recipe)
        self._constant(f"{node.name}.levels", np.ascontiguousarray(levels.T))
        self._constant(f"{node.name}.scales", scales)
        self._constant(f"{node.name}.zeros", np.zeros(len(scales), np.int8))
        constants = [f"{node.name}.{part}" for part in ("levels", "scales", "zeros")]
        self._add("DequantizeLinear", constants, f"{node.name}.dequantized", axis=1)
        inputs = [self._quantized_input(node, layer), f"{node.name}.dequantized"]
        biased = len(node.input) > 2 and bool(node.input[2])
        product = f"{node.name}.product" if biased else node.output[0]
        self._add("MatMul", inputs, product, name=node.name)
        if biased:
            self._add("Add", [product, node.input[2]], node.output[0])

    def _quantized_input(self, node: onnx.NodeProto, layer: LayerInput) -> str:
        divisors, key = layer.divisors, (node.input[0], layer.key)
        if key not in self.quantized:
            found, name = input_levels(layer, self.recipe), node.input[0]
            if divisors is not None:
                self._constant(f"{node.name}.factors", 1 / divisors)
                name = self._add("Mul", [name, f"{node.name}.factors"], f"{node.name}.divided")
            scale, zero = self._levels(f"{node.name}.input", found, np.uint8 if found.lowest == 0 else np.int8)
            name = self._add("QuantizeLinear", [name, scale, zero], f"{node.name}.input.levels")
            self.quantized[key] = self._add("DequantizeLinear", [name, scale, zero], f"{node.name}.input")
        return self.quantized[key]

    def _embedding(self, node: onnx.NodeProto, weight: np.ndarray) -> None:
        """Levels and scales of the rows that are asked for: the table itself stays in int8."""
        levels, scales = embedding_levels(weight)
        self._constant(f"{node.name}.levels", levels)
        self._constant(f"{node.name}.scales", scales[:, None])
        picked = self._add("Gather", [f"{node.name}.levels", node.input[1]], f"{node.name}.picked", name=node.name)
        scale = self._add("Gather", [f"{node.name}.scales", node.input[1]], f"{node.name}.scale")
        values = self._add("Cast", [picked], f"{node.name}.values", to=onnx.TensorProto.FLOAT)
        self._add("Mul", [values, scale], node.output[0])

    def _levels(self, name: str, levels: Levels, kind: type[np.generic]) -> tuple[str, str]:
        self._constant(f"{name}.scale", np.asarray(levels.scale, np.float32))
        self._constant(f"{name}.zero", np.asarray(levels.zero_point, kind))
        return f"{name}.scale", f"{name}.zero"

    def _constant(self, name: str, values: np.ndarray) -> None:
        self.graph.initializer.append(numpy_helper.from_array(values, name))

    def _add(self, kind: str, inputs: list[str], output: str, *, name: str | None = None, **attributes: int) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=name or f"{output}:{kind}", **attributes))
        return output
