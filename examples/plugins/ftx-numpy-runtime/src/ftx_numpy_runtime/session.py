"""The runtime: BERT's forward pass in NumPy (Devlin et al. 2019), fp32."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

SETTINGS = "ftx_numpy_runtime"
"""The key of the file's metadata that holds `layers`, `head_size` and `epsilon`, as JSON."""
HIDDEN = np.float32(-1e9)
"""Added to the scores of positions that the mask hides."""


class NumpySession:
    """A loaded model. Calls may come from several threads: nothing changes after it is made."""

    def __init__(self, weights: Mapping[str, np.ndarray], layers: int, head_size: int, epsilon: float) -> None:
        self._weights, self._layers, self._head_size, self._epsilon = weights, layers, head_size, epsilon

    def __call__(self, **inputs: np.ndarray) -> np.ndarray:
        """The logits, float32 of shape (batch, classes), of inputs of shape (batch, length)."""
        states = self._embed(inputs["input_ids"], inputs.get("token_type_ids"))
        bias = np.where(inputs["attention_mask"] > 0, np.float32(0), HIDDEN)[:, None, None, :]
        for layer in range(self._layers):
            states = self._layer(f"bert.encoder.layer.{layer}", states, bias)
        pooled = np.tanh(self._linear("bert.pooler.dense", states[:, 0]))
        return self._linear("classifier", pooled)

    def _embed(self, ids: np.ndarray, types: np.ndarray | None) -> np.ndarray:
        tables = {name: self._weights[f"bert.embeddings.{name}_embeddings.weight"] for name in _TABLES}
        kinds = np.zeros_like(ids) if types is None else types
        states = tables["word"][ids] + tables["position"][: ids.shape[1]] + tables["token_type"][kinds]
        return self._norm("bert.embeddings.LayerNorm", states)

    def _layer(self, name: str, states: np.ndarray, bias: np.ndarray) -> np.ndarray:
        query, key, value = (self._heads(f"{name}.attention.self.{part}", states) for part in _PROJECTIONS)
        scores = query @ key.swapaxes(2, 3) * np.float32(1 / math.sqrt(self._head_size)) + bias
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ value
        joined = mixed.transpose(0, 2, 1, 3).reshape(*states.shape[:2], -1)
        attended = self._linear(f"{name}.attention.output.dense", joined)
        states = self._norm(f"{name}.attention.output.LayerNorm", attended + states)
        inner = gelu(self._linear(f"{name}.intermediate.dense", states))
        return self._norm(f"{name}.output.LayerNorm", self._linear(f"{name}.output.dense", inner) + states)

    def _heads(self, name: str, states: np.ndarray) -> np.ndarray:
        """(batch, length, hidden) -> (batch, heads, length, head size); the number of heads may differ by layer."""
        projected = self._linear(name, states)
        return projected.reshape(*states.shape[:2], -1, self._head_size).transpose(0, 2, 1, 3)

    def _linear(self, name: str, states: np.ndarray) -> np.ndarray:
        result: np.ndarray = states @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return result

    def _norm(self, name: str, states: np.ndarray) -> np.ndarray:
        centred = states - states.mean(axis=-1, keepdims=True)
        scale = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(self._epsilon))
        result: np.ndarray = centred / scale * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return result


_TABLES = ("word", "position", "token_type")
_PROJECTIONS = ("query", "key", "value")
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


def gelu(values: np.ndarray) -> np.ndarray:
    """x·Φ(x), with erf from Abramowitz and Stegun, 7.1.26: within 1.5e-7."""
    scaled = np.abs(values) * np.float32(math.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * scaled)
    polynomial = np.zeros_like(t)
    for coefficient in reversed(_ERF):
        polynomial = (polynomial + np.float32(coefficient)) * t
    erf = np.sign(values) * (1 - polynomial * np.exp(-np.square(scaled)))
    result: np.ndarray = values * np.float32(0.5) * (1 + erf)
    return result


def load(folder: Path, variant: Mapping[str, Any], device: str = "cpu", threads: int | None = None) -> NumpySession:
    """The variant (its entry in the bundle's `meta`) of the bundle in `folder`.

    `threads` is left alone: how many NumPy uses is a setting of the BLAS library under it.
    """
    with safe_open(str(folder / variant["file"]), framework="numpy") as file:
        settings = json.loads(file.metadata()[SETTINGS])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    return NumpySession(weights, **settings)
