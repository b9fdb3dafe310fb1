"""Dynamic int8 in torch, with the very weights and ranges of ONNX Runtime's dynamic quantizer.

`torch.ao.quantization.quantize_dynamic` is not used: it is deprecated, and it always cuts activations to 7 bits, which
costs accuracy (twice the error) and makes it a poor simulation of the exported model. The operators below it are used
here directly; torch deprecates the quantized tensors that they pack, so that warning is silenced here, and here alone.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ftx_plugins.quantize.recipe import Recipe


class DynamicLinear(nn.Module):
    """A linear layer with packed int8 weights; the input is quantized to uint8 over the whole batch."""

    def __init__(self, linear: nn.Linear, recipe: Recipe) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        bias = linear.bias.detach() if linear.bias is not None else None
        self._packed = torch.ops.quantized.linear_prepack(quantize_weight(linear.weight.detach(), recipe), bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = torch.ops.quantized.linear_dynamic(inputs, self._packed, False)
        return outputs

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, int8"


class QuantizedEmbedding(nn.Module):
    """An embedding kept in uint8 with one scale and zero point, as ONNX Runtime's quantizer keeps a `Gather`."""

    weight: torch.Tensor

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        weight = embedding.weight.detach()
        self.scale, self.zero_point = _asymmetric(weight)
        levels = (torch.round(weight / self.scale) + self.zero_point).clamp(0, 255)
        self.register_buffer("weight", levels.to(torch.uint8))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return (nn.functional.embedding(ids, self.weight).float() - self.zero_point) * self.scale


@dataclass(frozen=True)
class Layer:
    """A module that a recipe quantizes: its name, its parameters, and the error ‖W − Q(W)‖ / ‖W‖ of its weight."""

    name: str
    parameters: int
    error: float


def layer_names(model: nn.Module, recipe: Recipe) -> list[str]:
    """Names of the modules of `model` that the recipe quantizes."""
    kinds: tuple[type[nn.Module], ...] = (nn.Linear, nn.Embedding) if recipe.embeddings else (nn.Linear,)
    # Exact types: a subclass may use its weight in ways of its own.
    return recipe.included(name for name, module in model.named_modules() if type(module) in kinds)


def quantize(model: Any, recipe: Recipe) -> Any:
    """A copy of `model`, on the processor and in evaluation mode, with the recipe's layers quantized."""
    return replaced(model, recipe, lambda name, linear: DynamicLinear(linear, recipe), QuantizedEmbedding)


def replaced(
    model: Any,
    recipe: Recipe,
    quantized_linear: Callable[[str, nn.Linear], nn.Module],
    quantized_embedding: Callable[[nn.Embedding], nn.Module],
) -> Any:
    """The same with what the functions make of each linear layer, by its name, and embedding, in their places."""
    names = layer_names(model, recipe)
    quantized = copy.deepcopy(model).cpu().eval()
    for name in names:
        module = quantized.get_submodule(name)
        linear = isinstance(module, nn.Linear)
        quantized.set_submodule(name, quantized_linear(name, module) if linear else quantized_embedding(module))
    return quantized


def measure(model: nn.Module, recipe: Recipe) -> list[Layer]:
    """The layers that the recipe quantizes, each with the error of its weight."""
    layers = []
    for name in layer_names(model, recipe):
        module = model.get_submodule(name)
        weight = module.get_parameter("weight").detach()
        if isinstance(module, nn.Linear):
            approximation = quantize_weight(weight, recipe).dequantize()
        else:
            embedding = QuantizedEmbedding(module)  # type: ignore[arg-type]
            approximation = (embedding.weight.float() - embedding.zero_point) * embedding.scale
        norm = float(weight.norm())
        error = float((weight - approximation).norm()) / norm if norm else 0.0
        layers.append(Layer(name, weight.numel(), error))
    return layers


def quantize_weight(weight: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """`weight` (rows are output channels) as a symmetric int8 tensor, its largest value at the top of the range."""
    largest = weight.abs().amax(dim=1) if recipe.per_channel else weight.abs().amax().reshape(1)
    scales = largest.double() / recipe.top_level
    scales[scales < torch.finfo(torch.float32).tiny] = 1.0
    with quiet_quantized_tensors():
        if recipe.per_channel:
            zeros = torch.zeros(len(scales), dtype=torch.long)
            return torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        return torch.quantize_per_tensor(weight, float(scales), 0, torch.qint8)


@contextlib.contextmanager
def quiet_quantized_tensors() -> Iterator[None]:
    """Hold back torch's notice that it will one day have no quantized tensors."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*quantized tensor creation functions", category=UserWarning)
        yield


def _asymmetric(weight: torch.Tensor) -> tuple[float, int]:
    low, high = min(0.0, float(weight.min())), max(0.0, float(weight.max()))
    scale = (high - low) / 255 or 1.0
    return float(torch.tensor(scale, dtype=torch.float32)), round(-low / scale)
