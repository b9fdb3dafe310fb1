"""Whether a model is right as often as it says: the expected calibration error.

Guo et al., On Calibration of Modern Neural Networks (2017); bins of equal mass as in Nixon et al., Measuring
Calibration in Deep Learning (2019): with bins of equal width nearly all rows of a confident model fall into one.
"""

from __future__ import annotations

import numpy as np

from ftx_plugins.evaluate.bootstrap import CONFIDENCE, Interval, Resampling

BINS = 15


def calibration_gaps(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Right (1 or 0) less confidence of each row, in the column of its bin: float64 of shape (rows, bins).

    `probabilities` is of shape (rows, classes). Bins hold equally many rows (to within one), by confidence; with fewer
    rows than bins some are empty.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    gaps = np.zeros((len(labels), BINS))
    for place, members in enumerate(np.array_split(np.argsort(confidence, kind="stable"), BINS)):
        gaps[members, place] = right[members] - confidence[members]
    return gaps


def calibration_error(gaps: np.ndarray) -> float:
    """The expected calibration error: in each bin |accuracy - mean confidence|, weighted by the bin's rows."""
    return float(np.abs(gaps.sum(axis=0)).sum() / len(gaps))


def calibration_error_interval(gaps: np.ndarray, resampling: Resampling) -> Interval:
    """The bootstrap interval, with the bins of the sample.

    Noise only ever widens a gap, so that resamples have a larger error than the sample, and the percentile interval may
    lie wholly above it. It is therefore moved down by the bootstrap's estimate of this bias.
    """
    values = np.abs(resampling.sums(gaps)).sum(axis=1) / len(gaps)
    tail = (1 - CONFIDENCE) / 2
    bias = values.mean() - calibration_error(gaps)
    return [max(0.0, float(end - bias)) for end in np.quantile(values, [tail, 1 - tail])]
