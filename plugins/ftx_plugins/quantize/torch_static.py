"""A static recipe in torch: simulated, with the same levels as at export, in floats; and in integers, to be traced."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ftx_plugins.quantize.levels import embedding_levels, input_levels, weight_levels
from ftx_plugins.quantize.recipe import LayerInput, Recipe
from ftx_plugins.quantize.torch_dynamic import quiet_quantized_tensors, replaced


class StaticLinear(nn.Module):
    """A linear layer whose input and weight take the values of their int8 levels alone."""

    weight: torch.Tensor

    def __init__(self, linear: nn.Linear, layer: LayerInput, recipe: Recipe) -> None:
        super().__init__()
        self.levels = input_levels(layer, recipe)
        levels, scales = weight_levels(linear.weight.detach().numpy(), layer, recipe)
        self.register_buffer("weight", torch.from_numpy(levels * scales[:, None]))
        self.bias = linear.bias
        self.inverse = None if layer.divisors is None else torch.from_numpy(1 / layer.divisors)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.inverse is not None:
            inputs = inputs * self.inverse
        quantized = torch.fake_quantize_per_tensor_affine(
            inputs, float(self.levels.scale), self.levels.zero_point, self.levels.lowest, self.levels.highest
        )
        return nn.functional.linear(quantized, self.weight, self.bias)


class IntegerLinear(nn.Module):
    """The same in integers: packed int8 weights, the input in uint8, a float output. For processors; it can be traced.

    int8 levels of an input are moved up by 128, which torch's operator wants; clipped first, as it has one level more.
    """

    def __init__(self, linear: nn.Linear, layer: LayerInput, recipe: Recipe) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        found = input_levels(layer, recipe)
        signed = found.lowest < 0
        self.scale, self.zero_point = float(found.scale), found.zero_point + (128 if signed else 0)
        self.limits = (float(found.low), float(found.high)) if signed else None
        levels, scales = weight_levels(linear.weight.detach().numpy(), layer, recipe)
        bias = linear.bias.detach() if linear.bias is not None else None
        self._packed = torch.ops.quantized.linear_prepack(_quantized_tensor(levels, scales), bias)
        self.inverse = None if layer.divisors is None else torch.from_numpy(1 / layer.divisors)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.inverse is not None:
            inputs = inputs * self.inverse
        if self.limits is not None:
            inputs = inputs.clamp(*self.limits)
        multiply = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        outputs: torch.Tensor = multiply(inputs, self.scale, self.zero_point, self._packed)
        return outputs

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, int8"


class RowQuantizedEmbedding(nn.Module):
    """An embedding kept in int8 levels with a scale for each row."""

    weight: torch.Tensor
    scales: torch.Tensor

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        levels, scales = embedding_levels(embedding.weight.detach().numpy())
        self.register_buffer("weight", torch.from_numpy(levels))
        self.register_buffer("scales", torch.from_numpy(scales[:, None]))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        levels = nn.functional.embedding(ids, self.weight).float()
        return levels * nn.functional.embedding(ids, self.scales)


def quantize(model: Any, recipe: Recipe) -> Any:
    """A copy of `model`, on the processor and in evaluation mode, with the recipe's layers quantized, in floats."""
    return _replaced(model, recipe, StaticLinear)


def lower(model: Any, recipe: Recipe) -> Any:
    """The same in integers, which is what is traced for TorchScript."""
    return _replaced(model, recipe, IntegerLinear)


def _replaced(model: Any, recipe: Recipe, kind: type[StaticLinear | IntegerLinear]) -> Any:
    return replaced(
        model, recipe, lambda name, linear: kind(linear, recipe.input_of(name), recipe), RowQuantizedEmbedding
    )


def _quantized_tensor(levels: np.ndarray, scales: np.ndarray) -> torch.Tensor:
    """torch's own int8 tensor of these `levels`, of shape (out, in), with the `scales` of shape (out,)."""
    zeros = torch.zeros(len(scales), dtype=torch.long)
    with quiet_quantized_tensors():
        return torch._make_per_channel_quantized_tensor(
            torch.from_numpy(levels), torch.from_numpy(scales.astype(np.float64)), zeros, 0
        )
