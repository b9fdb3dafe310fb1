"""From ranges to levels: the arithmetic that the simulation and every lowering of a static recipe share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ftx_plugins.quantize.recipe import TOP_LEVEL, LayerInput, Recipe


@dataclass(frozen=True)
class Levels:
    """An affine quantizer: x -> clip(round(x / scale) + zero_point, lowest, highest)."""

    scale: np.float32
    zero_point: int
    lowest: int
    highest: int

    @property
    def low(self) -> np.float32:
        """The value of the lowest level."""
        return np.float32((self.lowest - self.zero_point) * self.scale)

    @property
    def high(self) -> np.float32:
        return np.float32((self.highest - self.zero_point) * self.scale)


def input_levels(layer: LayerInput, recipe: Recipe) -> Levels:
    """The levels of a layer's input: uint8 over its range, or int8 symmetric about zero. Zero is always a level."""
    low, high = min(layer.low, 0.0), max(layer.high, 0.0)
    if recipe.activations == "int8":
        return Levels(_scale(max(-low, high), TOP_LEVEL), 0, -TOP_LEVEL, TOP_LEVEL)
    scale = _scale(high - low, 255)
    return Levels(scale, int(np.clip(round(-low / float(scale)), 0, 255)), 0, 255)


def weight_levels(weight: np.ndarray, layer: LayerInput, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """The levels of a linear layer's `weight`, float32 of shape (out, in), multiplied by the divisors of its input.

    Returns int8 of the same shape and the scale of each output channel, float32 of shape (out,). Symmetric.
    """
    if layer.divisors is not None:
        weight = weight * layer.divisors
    largest = np.abs(weight).max(axis=1) if recipe.per_channel else np.full(len(weight), np.abs(weight).max())
    return _symmetric(weight, largest, recipe.top_level)


def embedding_levels(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The levels of an embedding, float32 of shape (rows, channels): int8 of the same shape, and a scale for each row.

    The scales are float32 of shape (rows,). Symmetric, so that a row is its levels times its scale and nothing else.
    """
    return _symmetric(weight, np.abs(weight).max(axis=1), TOP_LEVEL)


def _symmetric(weight: np.ndarray, largest: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 levels from -top to top, and each row's scale; `largest` has the magnitude that is the row's top level."""
    scales = (largest.astype(np.float64) / top).astype(np.float32)
    scales[scales < np.finfo(np.float32).tiny] = 1.0
    levels = np.clip(np.round(weight / scales[:, None]), -top, top)
    return levels.astype(np.int8), scales


def _scale(width: float, steps: int) -> np.float32:
    return np.float32(width / steps) if width > np.finfo(np.float32).tiny * steps else np.float32(1.0)
