"""A static recipe in torch that can be trained: levels going forward, and gradients that pass through the rounding.

The gradient of a value is kept where the value lies within its levels and is zero beyond them (the straight-through
estimator, Bengio et al. 2013). The ranges of the inputs stay those of the recipe; the scales of weights follow the
weights, so that what is trained is what `ftx_plugins.quantize.levels` makes of the weights in the end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ftx_plugins.quantize.levels import input_levels
from ftx_plugins.quantize.recipe import TOP_LEVEL, LayerInput, Recipe
from ftx_plugins.quantize.torch_dynamic import layer_names


class TrainableLinear(nn.Module):
    """A linear layer that trains its fp32 weight, shared with `linear`, by what its int8 levels compute."""

    divisors: torch.Tensor | None

    def __init__(self, linear: nn.Linear, layer: LayerInput, recipe: Recipe) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.levels = input_levels(layer, recipe)
        self.per_channel = recipe.per_channel
        self.top = recipe.top_level
        divisors = None if layer.divisors is None else torch.from_numpy(layer.divisors)
        self.register_buffer("divisors", divisors, persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        weight = self.weight
        if self.divisors is not None:
            inputs, weight = inputs / self.divisors, weight * self.divisors
        found = self.levels
        quantized = torch.fake_quantize_per_tensor_affine(
            inputs, float(found.scale), found.zero_point, found.lowest, found.highest
        )
        largest = weight.detach().abs().amax(dim=1)
        if not self.per_channel:
            largest = largest.amax().expand(len(weight))
        return nn.functional.linear(quantized, _through_levels(weight, largest, self.top), self.bias)


class TrainableEmbedding(nn.Module):
    """An embedding that trains its fp32 table, shared with `embedding`, by what the int8 levels of its rows are."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.weight, self.padding_idx = embedding.weight, embedding.padding_idx

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows = nn.functional.embedding(ids, self.weight, self.padding_idx)
        flat = rows.flatten(0, -2)
        return _through_levels(flat, flat.detach().abs().amax(dim=1), TOP_LEVEL).reshape(rows.shape)


def make_trainable(model: Any, recipe: Recipe) -> dict[str, nn.Module]:
    """Put trainable layers in the place of those that `recipe` quantizes; returns the old ones, by their names."""
    replaced: dict[str, nn.Module] = {}
    for name in layer_names(model, recipe):
        module = replaced[name] = model.get_submodule(name)
        trainable = (
            TrainableLinear(module, recipe.input_of(name), recipe)
            if isinstance(module, nn.Linear)
            else TrainableEmbedding(module)
        )
        model.set_submodule(name, trainable.to(module.weight.device))
    return replaced


def put_back(model: Any, replaced: dict[str, nn.Module]) -> None:
    """Put the layers back that `make_trainable` returned; they hold the weights that were trained."""
    for name, module in replaced.items():
        model.set_submodule(name, module)


def _through_levels(weight: torch.Tensor, largest: torch.Tensor, top: int) -> torch.Tensor:
    """`weight`, of shape (rows, channels), at its levels; `largest`, of shape (rows,), is at the top level of each row.

    As it is within its levels by the choice of the scale, the whole gradient passes.
    """
    scales = (largest.double() / top).float()
    scales = torch.where(scales < torch.finfo(torch.float32).tiny, torch.ones_like(scales), scales)[:, None]
    levels = torch.round(weight.detach() / scales).clamp(-top, top)
    return weight + (levels * scales - weight.detach())
