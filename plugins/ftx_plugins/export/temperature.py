"""Temperature scaling: one number that makes a model's scores say how often they are right.

Guo et al., On Calibration of Modern Neural Networks (2017). Logits are divided by it, so that no label changes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ftx.artifacts import Artifact
from ftx.step import Context
from ftx.tasks import TEXT_CLASSIFICATION
from ftx_plugins.checkpoint import LoadedCheckpoint, compute_logits
from ftx_plugins.data.splits import load_rows, split_path

FEWEST_ROWS = 100
"""With fewer, the temperature would be mostly noise."""
LOWEST, HIGHEST = 0.05, 20.0
TOLERANCE = 1e-5
"""Of the logarithm of the temperature."""
_GOLDEN = (np.sqrt(5) - 1) / 2


def temperature_of(loaded: LoadedCheckpoint, data: Artifact, rows: int, context: Context) -> float:
    """The temperature of `loaded`, fitted on up to `rows` rows of the validation split (the model has not seen them).

    1 for any task but single-label classification. 1, with a line that says why, where there are too few rows, or where
    they do not tell.
    """
    if not rows or loaded.task != TEXT_CLASSIFICATION:
        return 1.0
    if not split_path(data.path, "validation").is_file():
        context.log("the scores keep temperature 1: there is no validation split to fit it on")
        return 1.0
    found = load_rows(data, "validation", max_rows=rows, seed=context.seed)
    if len(found.texts) < FEWEST_ROWS or set(data.meta["labels"]) != set(loaded.labels):
        context.log(
            f"the scores keep temperature 1: it takes {FEWEST_ROWS} validation rows of the model's labels to fit"
        )
        return 1.0
    order = [loaded.labels.index(name) for name in data.meta["labels"]]
    logits = compute_logits(
        loaded,
        found.texts,
        found.pairs,
        progress=lambda done, total: context.progress(done, total, "rows", fitting="temperature"),
    )[:, order]
    fitted = fit_temperature(logits, found.labels)
    if fitted is None:
        context.log("the scores keep temperature 1: the validation rows, all alike right or wrong, do not tell another")
        return 1.0
    return fitted


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """The temperature with the least negative log-likelihood of `labels`, to four digits.

    `logits` is of shape (rows, classes). The likelihood has one maximum in 1 / temperature, so that a golden-section
    search finds it. None where there is none between 0.05 and 20: where every row is right, it grows without end.
    """
    values = logits.astype(np.float64)
    values -= values.max(axis=1, keepdims=True)
    own = values[np.arange(len(labels)), labels]

    def loss(logarithm: float) -> float:
        temperature = np.exp(logarithm)
        return float((np.log(np.exp(values / temperature).sum(axis=1)) - own / temperature).mean())

    low, high = float(np.log(LOWEST)), float(np.log(HIGHEST))
    best = _minimum(loss, low, high)
    if min(best - low, high - best) < 10 * TOLERANCE:
        return None
    return float(f"{np.exp(best):.4g}")


def _minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one minimum has it, by golden-section search."""
    inner, outer = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_inner, at_outer = function(inner), function(outer)
    while high - low > TOLERANCE:
        if at_inner <= at_outer:
            high, outer, at_outer = outer, inner, at_inner
            inner = high - _GOLDEN * (high - low)
            at_inner = function(inner)
        else:
            low, inner, at_inner = inner, outer, at_outer
            outer = low + _GOLDEN * (high - low)
            at_outer = function(outer)
    return (low + high) / 2
