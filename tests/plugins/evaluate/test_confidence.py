"""The expected calibration error."""

from __future__ import annotations

import numpy as np
import pytest

from ftx_plugins.evaluate.bootstrap import Resampling
from ftx_plugins.evaluate.confidence import (
    BINS,
    calibration_error,
    calibration_error_interval,
    calibration_gaps,
)


def sample(rows, exaggeration=1.0, seed=0):
    """Labels of two classes drawn with a confidence, and the probabilities that a model says: logits exaggerated."""
    random = np.random.default_rng(seed)
    logit = random.normal(scale=2, size=rows)
    labels = (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(int)
    said = 1 / (1 + np.exp(-exaggeration * logit))
    return labels, np.stack([1 - said, said], axis=1)


def test_a_model_that_is_right_as_often_as_it_says_has_hardly_an_error():
    assert calibration_error(calibration_gaps(*sample(20_000))) < 0.01


def test_a_model_that_exaggerates_has_the_error_by_which_it_does():
    labels, probabilities = sample(20_000, exaggeration=3)
    overconfidence = probabilities.max(axis=1).mean() - (probabilities.argmax(axis=1) == labels).mean()
    assert calibration_error(calibration_gaps(labels, probabilities)) == pytest.approx(overconfidence, abs=0.005)
    assert overconfidence > 0.1


def test_bins_hold_equally_many_rows():
    gaps = calibration_gaps(*sample(1000))
    sizes = (gaps != 0).sum(axis=0)
    assert gaps.shape == (1000, BINS)
    assert sizes.max() - sizes.min() <= 1


def test_the_interval_holds_the_error_also_where_noise_is_all_there_is():
    gaps = calibration_gaps(*sample(500))
    low, high = calibration_error_interval(gaps, Resampling(500, seed=0))
    assert 0 <= low < calibration_error(gaps) < high < 0.1


def test_fewer_rows_than_bins_are_no_error():
    gaps = calibration_gaps(*sample(4))
    assert 0 <= calibration_error(gaps) <= 1
