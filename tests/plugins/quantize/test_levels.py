"""From ranges to levels."""

from __future__ import annotations

import numpy as np
import pytest

from ftx_plugins.quantize.levels import embedding_levels, input_levels, weight_levels
from ftx_plugins.quantize.recipe import LayerInput, Recipe

UNSIGNED = Recipe(scheme="static", activations="uint8")
SIGNED = Recipe(scheme="static", activations="int8")


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (-0.17, 24.6), (0.5, 2.0), (-7.0, -1.0), (0.0, 0.0)])
@pytest.mark.parametrize("recipe", [UNSIGNED, SIGNED])
def test_zero_is_a_level_and_the_range_is_covered(low: float, high: float, recipe: Recipe) -> None:
    levels = input_levels(LayerInput(low, high), recipe)
    assert levels.lowest <= levels.zero_point <= levels.highest
    half = float(levels.scale) / 2 * 1.01
    assert float(levels.low) <= min(low, 0) + half
    assert float(levels.high) >= max(high, 0) - half


def test_signed_levels_are_symmetric_about_zero() -> None:
    levels = input_levels(LayerInput(-1.0, 3.0), SIGNED)
    assert levels.zero_point == 0
    assert float(levels.high) == -float(levels.low) == pytest.approx(3.0)


@pytest.mark.parametrize(("reduce_range", "top"), [(False, 127), (True, 64)])
def test_weights_are_multiplied_by_the_divisors_and_use_the_whole_range(reduce_range: bool, top: int) -> None:
    weight = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    weight[3] = 0
    layer = LayerInput(0, 1, np.array([1, 2, 4, 8, 1, 0.5, 1, 1], np.float32))
    levels, scales = weight_levels(weight, layer, Recipe(scheme="static", reduce_range=reduce_range))
    assert np.abs(levels).max(axis=1).tolist() == [top, top, top, 0]
    assert np.abs(levels * scales[:, None] - weight * layer.divisors).max() <= scales.max() * 0.5001


def test_one_scale_a_weight_is_the_largest_of_its_channels() -> None:
    weight = np.array([[1.0, -2.0], [0.5, 0.1]], np.float32)
    _, scales = weight_levels(weight, LayerInput(0, 1), Recipe(scheme="static", per_channel=False))
    assert scales == pytest.approx([2 / 127, 2 / 127])


def test_each_row_of_an_embedding_is_within_half_a_level_of_its_own() -> None:
    table = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    table[:, 0] *= np.logspace(-4, 4, 50)
    table[7] = 0
    levels, scales = embedding_levels(table)
    assert (levels.dtype, levels.shape, scales.shape) == (np.int8, (50, 8), (50,))
    assert (np.abs(levels * scales[:, None] - table).max(axis=1) <= scales * 0.5001).all()
    assert np.abs(levels).max(axis=1).tolist() == [127] * 7 + [0] + [127] * 42
