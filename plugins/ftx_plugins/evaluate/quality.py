"""The metrics of a candidate, each with its interval, and how far they are from the reference's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ftx import Context, Metric
from ftx.step import load_by_name
from ftx_plugins.evaluate.bootstrap import Resampling, interval, map_leaves
from ftx_plugins.evaluate.rows import Rows
from ftx_plugins.metrics.counts import ClassCounts
from ftx_plugins.tasks.scoring import Scoring

FEWER_RESAMPLES = 200
"""For a metric that has to be called on each resample."""
SLOW_CALL = 0.01
"""Seconds that a call of such a metric may take, or it gets no interval."""


@dataclass
class Quality:
    """Metrics of one candidate: by name a figure, or figures in nested mappings."""

    values: dict[str, Any] = field(default_factory=dict)
    resampled: dict[str, Any] = field(default_factory=dict)
    """The same on each resample, as arrays of shape (resamples,); without those that have no interval."""
    fewer: dict[str, int] = field(default_factory=dict)
    """How many resamples, of the metrics that have fewer than `RESAMPLES`; 0: no interval."""

    def intervals(self) -> dict[str, Any]:
        return {name: map_leaves(interval, figures) for name, figures in self.resampled.items()}

    def against(self, reference: Quality) -> dict[str, Any]:
        """Metric -> `difference` (this less the reference) and its paired `interval`, nested as the metric is."""
        return {
            name: map_leaves(_difference, figures, reference.resampled[name], self.values[name], reference.values[name])
            for name, figures in self.resampled.items()
            if name in reference.resampled
        }


def measure(rows: Rows, scoring: Scoring, logits: np.ndarray, resampling: Resampling, context: Context) -> Quality:
    """Every metric of the task on `logits`, of shape (rows, classes) in the data set's order of labels."""
    features = scoring.features(rows.labels, logits)
    counts = None if features is None else ClassCounts.of(resampling.sums(features))
    quality = Quality()
    logits = scoring.readable(logits)
    for name, metric in context.plugins.metrics(context.model.task).items():
        try:
            compute = load_by_name(metric.compute)
            started = time.perf_counter()
            quality.values[name] = compute(rows.labels, logits, rows.names)
        except Exception as error:
            origin = context.plugins.origin(metric)
            if origin.built_in:
                raise
            # What somebody else's metric cannot compute is no reason to lose the whole evaluation.
            context.warn(f"no {name}: the metric of the plugin {origin} failed: {type(error).__name__}: {error}")
            continue
        seconds = time.perf_counter() - started
        if metric.from_counts is not None and counts is not None:
            quality.resampled[name] = load_by_name(metric.from_counts)(counts, rows.names)
            continue
        called = None
        if seconds < SLOW_CALL:
            called = _resample_by_calls(metric, compute, rows, logits, resampling.seed, context)
        quality.fewer[name] = 0 if called is None else FEWER_RESAMPLES
        if called is not None:
            quality.resampled[name] = called
    return quality


def _difference(values: np.ndarray, reference: np.ndarray, value: float, expected: float) -> dict[str, Any]:
    return {"difference": value - expected, "interval": interval(values - reference)}


def _resample_by_calls(
    metric: Metric, compute: Callable[..., Any], rows: Rows, logits: np.ndarray, seed: int, context: Context
) -> Any:
    """The metric on each of `FEWER_RESAMPLES`; None, with a warning, where it cannot be computed on one of them."""
    random = np.random.default_rng(seed)
    count = len(rows.labels)
    try:
        draws = [random.integers(0, count, size=count) for _ in range(FEWER_RESAMPLES)]
        found = [compute(rows.labels[drawn], logits[drawn], rows.names) for drawn in draws]
        return map_leaves(lambda *figures: np.asarray(figures, dtype=np.float64), *found)
    except Exception as error:  # a plugin's code: on the sample itself it worked, and that figure is reported
        context.warn(f"the metric {metric.name} has no interval: it fails on a resample of the rows ({error})")
        return None
