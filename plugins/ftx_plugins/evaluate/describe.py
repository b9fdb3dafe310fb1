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
from ftx_plugins.tasks.scoring import Scoring
from ftx_serving.decoding import softmax


@dataclass(frozen=True)
class Reference:
    """What the candidates are held against."""

    logits: np.ndarray
    quality: Quality

    @classmethod
    def of(
        cls, logits: np.ndarray, rows: Rows, scoring: Scoring, resampling: Resampling, context: Context
    ) -> Reference:
        return cls(logits, measure(rows, scoring, logits, resampling, context))


def describe(
    candidate: Candidate,
    logits: np.ndarray,
    rows: Rows,
    scoring: Scoring,
    reference: Reference | None,
    kinds: Mapping[str, Slices],
    resampling: Resampling,
    context: Context,
) -> dict[str, Any]:
    """Metrics with `intervals`, calibration, flips and differences against the reference, and each kind of slices."""
    own = reference is not None and reference.logits is logits
    quality = (
        reference.quality if reference is not None and own else measure(rows, scoring, logits, resampling, context)
    )
    figures: dict[str, Any] = {"variant": candidate.variant, "quantized": candidate.quantized, **quality.values}
    intervals = quality.intervals()
    if scoring.calibrated:
        figures |= _describe_calibration(candidate, logits, rows, resampling, intervals)
    right = scoring.right(rows.labels, logits)
    right_before = flipped = None
    if reference is not None:
        right_before = right if own else scoring.right(rows.labels, reference.logits)
        flipped = scoring.decoder.changed(reference.logits, logits)
        figures |= _describe_flips(logits, reference.logits, flipped, right_before, resampling, intervals)
    if reference is not None and not own:
        figures["against_reference"] = {
            **quality.against(reference.quality),
            **_test(right_before, right, resampling),
        }
    fewer = {"fewer_resamples": quality.fewer} if quality.fewer else {}
    if own:  # the reference is compared with nothing
        right_before = flipped = None
    # Of a regression no row is right or wrong.
    slices = {
        kind: [] if right is None else by_slice(members, right, right_before, flipped, resampling)
        for kind, members in kinds.items()
    }
    return figures | {"intervals": intervals, **fewer, **slices}


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
    logits: np.ndarray,
    expected: np.ndarray,
    flipped: np.ndarray,
    right_before: np.ndarray | None,
    resampling: Resampling,
    intervals: dict[str, Any],
) -> dict[str, Any]:
    intervals["flip_rate"] = interval(resampling.means(flipped))
    return {
        "flips": int(flipped.sum()),
        "negative_flips": None if right_before is None else int((flipped & right_before).sum()),
        "flip_rate": float(flipped.mean()),
        "max_logit_difference": float(np.abs(logits - expected).max()),
    }


def _test(right_before: np.ndarray | None, right: np.ndarray | None, resampling: Resampling) -> dict[str, Any]:
    """McNemar's test; the paired interval of the accuracy is among the metrics' already."""
    if right_before is None or right is None:
        return {}
    compared = compare_accuracy(right_before, right, resampling)
    return {
        "mcnemar": asdict(compared.test),
        "verdict": compared.verdict,
        "rows_needed": compared.rows_needed,
    }
