"""Calibration: from what a model's linear layers take in, on real texts, to the ranges of a static recipe.

Texts are shown without padding, so that what a mask hides has no say in a range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx_plugins.quantize.recipe import Calibration, LayerInput, Recipe
from ftx_plugins.quantize.subjects import Subject
from ftx_serving.encoder import Feed

FILE = "calibration.safetensors"
"""Beside the weights of a checkpoint with a static recipe: `LAYER.range` (2,), and `LAYER.divisors` (channels,)."""
BINS = 2048
QUANTIZED_BINS = 128
DIGITS = 4
"""Significant digits of a range: torch's and ONNX Runtime's floats differ in the seventh, and mean the same recipe."""
Progress = Callable[[int, int], None]


@dataclass
class Extent:
    """What one layer took in: the lowest and highest value of each channel, and who shares its input."""

    low: np.ndarray
    high: np.ndarray
    peers: set[str] = field(default_factory=set)


@dataclass
class Histogram:
    """Counts of values between `low` and `high`, and of magnitudes between 0 and the larger of the two."""

    low: float
    high: float
    values: np.ndarray
    magnitudes: np.ndarray


class Calibrator:
    """Looks at what a model takes in: once for the extents, once for each strength whose histograms are needed."""

    def __init__(self, subject: Subject, feeds: Sequence[Feed], progress: Progress = lambda done, total: None) -> None:
        self._subject = subject
        self._feeds = feeds
        self._progress = progress
        self._extents = self._look_for_extents()
        self._histograms: dict[float, dict[str, Histogram]] = {}

    def inputs(self, method: Calibration, smooth: float, percentile: float) -> dict[str, LayerInput]:
        """Layer -> its input, of every layer that the texts reached."""
        divisors = divisors_of(self._extents, self._subject.weights(), smooth)
        ranges = {name: _range(extent, divisors[name]) for name, extent in self._extents.items()}
        if method != "min-max":
            if smooth not in self._histograms:
                self._histograms[smooth] = self._look_for_histograms(ranges, divisors)
            for name, histogram in self._histograms[smooth].items():
                clip = _entropy_range(histogram) if method == "entropy" else _percentile_range(histogram, percentile)
                ranges[name] = clip
        return {name: LayerInput(_rounded(low), _rounded(high), divisors[name]) for name, (low, high) in ranges.items()}

    def _look_for_extents(self) -> dict[str, Extent]:
        extents: dict[str, Extent] = {}
        for place, feed in enumerate(self._feeds):
            for names, values in self._subject.inputs(feed):
                low, high = values.min(axis=0), values.max(axis=0)
                for name in names:
                    extent = extents.setdefault(name, Extent(low, high))
                    extent.low, extent.high = np.minimum(extent.low, low), np.maximum(extent.high, high)
                    extent.peers.update(names)
            self._progress(place + 1, len(self._feeds))
        return extents

    def _look_for_histograms(
        self, ranges: Mapping[str, tuple[float, float]], divisors: Mapping[str, np.ndarray | None]
    ) -> dict[str, Histogram]:
        found = {
            name: Histogram(low, high, np.zeros(BINS, np.int64), np.zeros(BINS, np.int64))
            for name, (low, high) in ranges.items()
        }
        for place, feed in enumerate(self._feeds):
            for names, values in self._subject.inputs(feed):
                for name in names:
                    histogram, divisor = found[name], divisors[name]
                    divided = (values if divisor is None else values / divisor).ravel()
                    largest = max(-histogram.low, histogram.high)
                    histogram.values += np.histogram(divided, BINS, (histogram.low, histogram.high))[0]
                    histogram.magnitudes += np.histogram(np.abs(divided), BINS, (0, largest))[0]
            self._progress(place + 1, len(self._feeds))
        return found


def divisors_of(
    extents: Mapping[str, Extent], weights: Mapping[str, np.ndarray], strength: float
) -> dict[str, np.ndarray | None]:
    """Layer -> the divisor of each channel of its input, float32 of shape (channels,); None where all are alike.

    SmoothQuant's max|x|^strength / max|w|^(1 - strength) (Xiao et al. 2022), over all layers that share the input,
    rounded to a power of two. The division stays in the graph: the LayerNorm before the layer cannot take it over where
    its output is also added to the residual stream, as in BERT.
    """
    if not strength:
        return dict.fromkeys(extents)
    found: dict[str, np.ndarray | None] = {}
    tiny = 2.0**-20
    for name, extent in extents.items():
        largest = np.maximum(np.maximum(-extent.low, extent.high), tiny)
        weight = np.max([np.abs(weights[peer]).max(axis=0) for peer in sorted(extent.peers)], axis=0)
        exponents = strength * np.log2(largest) - (1 - strength) * np.log2(np.maximum(weight, tiny))
        divisors = np.exp2(np.round(exponents)).astype(np.float32)
        found[name] = divisors if np.ptp(divisors) else None
    return found


def save_inputs(inputs: Mapping[str, LayerInput], file: Path) -> None:
    """Write what `read_inputs` reads."""
    arrays = {f"{name}.range": np.array([layer.low, layer.high]) for name, layer in inputs.items()}
    arrays |= {f"{name}.divisors": layer.divisors for name, layer in inputs.items() if layer.divisors is not None}
    save_file(arrays, str(file))


def read_inputs(file: Path) -> dict[str, LayerInput]:
    arrays = load_file(str(file))
    names = [key.removesuffix(".range") for key in arrays if key.endswith(".range")]
    found = {}
    for name in names:
        low, high = arrays[f"{name}.range"].tolist()
        found[name] = LayerInput(low, high, arrays.get(f"{name}.divisors"))
    return found


def load_recipe(model: Artifact) -> Recipe | None:
    """The recipe of a checkpoint, with what calibration found; None if it has none."""
    raw = model.meta.get("recipe")
    if not raw:
        return None
    recipe = Recipe.from_dict(raw)
    if recipe.scheme != "static":
        return recipe
    if not (model.path / FILE).is_file():
        raise FtxError(f"{model.path} has a static recipe and no {FILE}", "quantize again: ftx run quantize:static")
    return replace(recipe, inputs=read_inputs(model.path / FILE))


def _range(extent: Extent, divisors: np.ndarray | None) -> tuple[float, float]:
    divided = (extent.low, extent.high) if divisors is None else (extent.low / divisors, extent.high / divisors)
    return min(0.0, float(divided[0].min())), max(0.0, float(divided[1].max()))


def _percentile_range(histogram: Histogram, percentile: float) -> tuple[float, float]:
    """The range that leaves out half of what is beyond `percentile` at either end."""
    share = np.cumsum(histogram.values) / max(1, histogram.values.sum())
    edges = np.linspace(histogram.low, histogram.high, BINS + 1)
    beyond = (1 - percentile / 100) / 2
    first = int(np.searchsorted(share, beyond, side="right"))
    last = min(BINS, int(np.searchsorted(share, 1 - beyond)) + 1)
    return min(0.0, float(edges[first])), max(0.0, float(edges[last]))


def _entropy_range(histogram: Histogram) -> tuple[float, float]:
    """The range cut to the magnitude whose quantized distribution is the nearest to the whole one, by KL divergence.

    Source: Migacz, "8-bit Inference with TensorRT", GTC 2017.
    """
    edges = np.linspace(0, max(-histogram.low, histogram.high), BINS + 1)
    candidates = range(QUANTIZED_BINS, BINS + 1, QUANTIZED_BINS // 8)
    kept = min(candidates, key=lambda bins: _clipping_divergence(histogram.magnitudes, bins))
    return max(histogram.low, -float(edges[kept])), min(histogram.high, float(edges[kept]))


def _clipping_divergence(counts: np.ndarray, kept: int) -> float:
    """KL divergence of `counts`, clipped to the first `kept` bins, from the same in `QUANTIZED_BINS` steps."""
    reference = counts[:kept].astype(np.float64)
    ends = np.linspace(0, kept, QUANTIZED_BINS + 1).round().astype(int)
    quantized = np.zeros(kept)
    for start, end in pairwise(ends):
        filled = reference[start:end] > 0
        if filled.any():
            quantized[start:end][filled] = reference[start:end].sum() / filled.sum()
    reference[-1] += counts[kept:].sum()
    if not quantized[-1]:
        # What is clipped falls where the quantized distribution has nothing: smoothed, as the source does.
        quantized[-1] = 1e-3
    there = reference > 0
    p, q = reference[there] / reference.sum(), quantized[there] / quantized.sum()
    return float((p * np.log(p / q)).sum())


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
