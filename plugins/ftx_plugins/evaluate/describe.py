"""The figures of quality of one candidate, as an evaluation keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ftx import Context
from ftx_plugins.evaluate.bootstrap import Resampling, interval
from ftx_plugins.evaluate.candidates import Candidate
from ftx_plugins.evaluate.confidence import calibration_error, calibration_error_interval, calibration_gaps
from ftx_plugins.evaluate.quality import Quality, measure
from ftx_plugins.evaluate.rows import Rows
from ftx_plugins.evaluate.significance import compare_accuracy
from ftx_plugins.evaluate.slices import Slices, by_slice
from ftx_serving.decoding import softmax


@dataclass(frozen=True)
class Reference:
    """What the candidates are held against."""

    logits: np.ndarray
    quality: Quality

    @classmethod
    def of(cls, logits: np.ndarray, rows: Rows, resampling: Resampling, context: Context) -> Reference:
        return cls(logits, measure(rows, logits, resampling, context))


def describe(
    candidate: Candidate,
    logits: np.ndarray,
    rows: Rows,
    reference: Reference | None,
    resampling: Resampling,
    context: Context,
) -> dict[str, Any]:
    """Metrics with `intervals`, calibration, and flips and differences against the reference."""
    own = reference is not None and reference.logits is logits
    quality = reference.quality if reference is not None and own else measure(rows, logits, resampling, context)
    figures: dict[str, Any] = {"variant": candidate.variant, "quantized": candidate.quantized, **quality.values}
    intervals = quality.intervals()
    figures |= _describe_calibration(candidate, logits, rows, resampling, intervals)
    if reference is not None:
        figures |= _describe_flips(logits, reference.logits, rows, resampling, intervals)
    if reference is not None and not own:
        figures["against_reference"] = {
            **quality.against(reference.quality),
            **_test(logits, reference, rows, resampling),
        }
    fewer = {"fewer_resamples": quality.fewer} if quality.fewer else {}
    return figures | {"intervals": intervals, **fewer}


def describe_slices(
    logits: np.ndarray, rows: Rows, expected: np.ndarray | None, kinds: Mapping[str, Slices], resampling: Resampling
) -> dict[str, Any]:
    """For each kind of slices the accuracy in each of them, against the reference where there is one, worst first."""
    reference = None if expected is None or expected is logits else expected.argmax(axis=1)
    predicted = logits.argmax(axis=1)
    return {kind: by_slice(slices, rows.labels, predicted, reference, resampling) for kind, slices in kinds.items()}


def _describe_calibration(
    candidate: Candidate, logits: np.ndarray, rows: Rows, resampling: Resampling, intervals: dict[str, Any]
) -> dict[str, Any]:
    """`ece` of the probabilities that users get, and `ece_unscaled` of those without the temperature."""
    gaps = calibration_gaps(rows.labels, softmax(logits, candidate.temperature))
    unscaled = calibration_gaps(rows.labels, softmax(logits))
    intervals["ece"] = calibration_error_interval(gaps, resampling)
    intervals["ece_unscaled"] = calibration_error_interval(unscaled, resampling)
    return {
        "temperature": candidate.temperature,
        "ece": calibration_error(gaps),
        "ece_unscaled": calibration_error(unscaled),
    }


def _describe_flips(
    logits: np.ndarray, expected: np.ndarray, rows: Rows, resampling: Resampling, intervals: dict[str, Any]
) -> dict[str, Any]:
    before, after = expected.argmax(axis=1), logits.argmax(axis=1)
    flipped = before != after
    intervals["flip_rate"] = interval(resampling.means(flipped))
    return {
        "flips": int(flipped.sum()),
        "negative_flips": int((flipped & (before == rows.labels)).sum()),
        "flip_rate": float(flipped.mean()),
        "max_logit_difference": float(np.abs(logits - expected).max()),
    }


def _test(logits: np.ndarray, reference: Reference, rows: Rows, resampling: Resampling) -> dict[str, Any]:
    """McNemar's test; the paired interval of the accuracy is among the metrics' already."""
    right_before = reference.logits.argmax(axis=1) == rows.labels
    compared = compare_accuracy(right_before, logits.argmax(axis=1) == rows.labels, resampling)
    return {
        "mcnemar": asdict(compared.test),
        "verdict": compared.verdict,
        "rows_needed": compared.rows_needed,
    }
