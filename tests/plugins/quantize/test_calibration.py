"""What calibration sees, and the ranges that it makes of it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx_plugins.checkpoint import LoadedCheckpoint
from ftx_plugins.export.tokenizer import backend_tokenizer, contract_of
from ftx_plugins.quantize.calibration import Calibrator, divisors_of, load_recipe, read_inputs, save_inputs
from ftx_plugins.quantize.recipe import LayerInput, Recipe
from ftx_plugins.quantize.samples import Sample
from ftx_plugins.quantize.subjects import OnnxSubject, TorchSubject
from ftx_plugins.tasks.scoring import scoring_of
from ftx_serving.encoder import Feed, TextEncoder

QUERY, KEY, OUTPUT = (f"bert.encoder.layer.0.attention.{name}" for name in ("self.query", "self.key", "output.dense"))
TEXTS = ["love great car", "the awful phone is bad", "table window", "good", "it is a very happy phone today"]


class Fixed:
    """A subject of one layer of one channel that takes in given values."""

    def __init__(self, values: Sequence[float]) -> None:
        self._values = np.array(values, np.float32)[:, None]

    def weights(self) -> dict[str, np.ndarray]:
        return {"layer": np.ones((1, 1), np.float32)}

    def modules(self, recipe: Recipe) -> list[str]:
        return ["layer"]

    def inputs(self, feed: Feed) -> Any:
        return [(("layer",), self._values)]

    def session(self, recipe: Recipe | None) -> Any:
        raise NotImplementedError


def feeds(loaded: LoadedCheckpoint) -> list[Feed]:
    encoder = TextEncoder(backend_tokenizer(loaded), contract_of(loaded, pair=False))
    scoring = scoring_of("text-classification", encoder.contract.labels)
    return Sample(encoder, encoder.encode(TEXTS), np.zeros(len(TEXTS), np.int64), scoring).feeds()


def test_batches_for_calibration_have_no_padding(loaded: LoadedCheckpoint) -> None:
    batches = feeds(loaded)
    assert sum(len(feed["input_ids"]) for feed in batches) == len(TEXTS)
    assert all(feed["attention_mask"].all() for feed in batches)


def test_torch_and_onnx_mean_the_same_recipe(loaded: LoadedCheckpoint, static_bundle: Artifact, tmp_path: Path) -> None:
    file = static_bundle.path / "variants/onnx-fp32/model.onnx"
    subjects = (TorchSubject(loaded.model), OnnxSubject(file, tmp_path))
    for layer, weight in subjects[0].weights().items():
        assert np.array_equal(subjects[1].weights()[layer], weight)
    both = [Calibrator(subject, feeds(loaded)).inputs("min-max", 0.75, 99.9) for subject in subjects]
    assert both[0].keys() == both[1].keys()
    for layer, found in both[0].items():
        other = both[1][layer]
        assert (found.low, found.high) == (other.low, other.high)
        assert np.array_equal(found.divisors, other.divisors)


@pytest.fixture
def uneven(loaded: LoadedCheckpoint) -> LoadedCheckpoint:
    """The same with a few channels much larger than the others, as large encoders have them."""
    model = copy.deepcopy(loaded.model)
    with torch.no_grad():
        model.bert.embeddings.LayerNorm.weight[:3] *= 30
    return replace(loaded, model=model)


def test_layers_that_share_an_input_share_range_and_divisors(uneven: LoadedCheckpoint) -> None:
    inputs = Calibrator(TorchSubject(uneven.model), feeds(uneven)).inputs("min-max", 0.75, 99.9)
    assert len(inputs) == 2 * 6 + 2
    divisors = inputs[QUERY].divisors
    assert divisors is not None
    assert np.array_equal(divisors, inputs[KEY].divisors)
    assert inputs[QUERY].high == inputs[KEY].high
    assert divisors[:3].min() > divisors[3:].max()
    assert np.array_equal(np.log2(divisors), np.log2(divisors).round())


def test_smoothing_loses_less_where_channels_are_uneven(uneven: LoadedCheckpoint) -> None:
    calibrator = Calibrator(TorchSubject(uneven.model), feeds(uneven))
    subject = TorchSubject(uneven.model)
    feed = feeds(uneven)[-1]
    exact = subject.session(None)(**feed)
    losses = []
    for strength in (0.0, 0.75):
        recipe = Recipe(scheme="static", inputs=calibrator.inputs("min-max", strength, 99.9))
        losses.append(np.abs(subject.session(recipe)(**feed) - exact).max())
    assert losses[1] < losses[0] / 2


def test_strength_one_evens_out_the_inputs_and_nought_leaves_them(uneven: LoadedCheckpoint) -> None:
    calibrator = Calibrator(TorchSubject(uneven.model), feeds(uneven))
    weights = TorchSubject(uneven.model).weights()
    extent = calibrator._extents[QUERY]
    assert divisors_of(calibrator._extents, weights, 0.0)[QUERY] is None
    divisors = divisors_of(calibrator._extents, weights, 1.0)[QUERY]
    assert divisors is not None
    largest = np.maximum(-extent.low, extent.high) / divisors
    assert largest.min() >= 2**-0.5 - 1e-6
    assert largest.max() <= 2**0.5 + 1e-6


def test_min_max_keeps_the_outlier_that_percentile_and_entropy_cut() -> None:
    values = [*np.random.default_rng(0).normal(size=100_000), 60.0]
    calibrator = Calibrator(Fixed(values), [{}])
    ranges = {}
    for method in ("min-max", "percentile", "entropy"):
        layer = calibrator.inputs(method, 0.0, 99.99)["layer"]  # type: ignore[arg-type]
        ranges[method] = (layer.low, layer.high)
    assert ranges["min-max"] == (pytest.approx(min(values), rel=1e-3), 60.0)
    assert 3 < ranges["percentile"][1] < 6
    assert 2 < ranges["entropy"][1] < 12
    assert ranges["entropy"][0] == ranges["min-max"][0]


def test_a_layer_whose_input_is_always_zero_has_a_range() -> None:
    for method in ("min-max", "percentile", "entropy"):
        layer = Calibrator(Fixed([0.0, 0.0]), [{}]).inputs(method, 0.5, 99.9)["layer"]  # type: ignore[arg-type]
        assert (layer.low, layer.high) == (0.0, 0.0)


def test_inputs_survive_their_file(tmp_path: Path) -> None:
    inputs = {"a.b": LayerInput(-1.25, 7.0, np.array([1, 2], np.float32)), "range": LayerInput(0.0, 1e-30)}
    save_inputs(inputs, tmp_path / "inputs.safetensors")
    found = read_inputs(tmp_path / "inputs.safetensors")
    assert {name: (layer.low, layer.high) for name, layer in found.items()} == {
        "a.b": (-1.25, 7.0),
        "range": (0.0, 1e-30),
    }
    assert np.array_equal(found["a.b"].divisors, [1, 2])
    assert found["range"].divisors is None


def test_a_static_recipe_without_its_file_is_a_clear_error(tmp_path: Path, as_artifact: Any) -> None:
    (tmp_path / "config.json").write_text("{}")
    model = as_artifact(tmp_path, "checkpoint", recipe=Recipe(scheme="static").to_dict())
    with pytest.raises(FtxError, match=r"no calibration\.safetensors"):
        load_recipe(model)
