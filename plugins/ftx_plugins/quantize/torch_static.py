"""A static recipe in torch: simulated, with the same levels as at export, in floats; and in integers, to be traced."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ftx_plugins.quantize.levels import embedding_levels, input_levels, weight_levels
from ftx_plugins.quantize.recipe import LayerInput, Recipe
from ftx_plugins.quantize.torch_dynamic import replaced


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
    """A copy of `model`, on the processor and in evaluation mode, with the recipe's layers quantized."""

    def linear_of(name: str, linear: nn.Linear) -> nn.Module:
        return StaticLinear(linear, recipe.input_of(name), recipe)

    return replaced(model, recipe, linear_of, RowQuantizedEmbedding)
