"""Resamples and intervals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from ftx_plugins.evaluate import bootstrap
from ftx_plugins.evaluate.bootstrap import Resampling, interval
from ftx_plugins.metrics import classification
from ftx_plugins.metrics.counts import ClassCounts, one_hot


def test_each_resample_holds_as_many_rows_as_the_sample():
    sums = Resampling(37, seed=1, resamples=50).sums(np.ones((37, 1)))
    assert sums.shape == (50, 1)
    assert (sums == 37).all()


def test_the_same_seed_gives_the_same_resamples_whether_they_are_kept_or_drawn_again(monkeypatch):
    features = np.random.default_rng(0).normal(size=(40, 3))
    kept = Resampling(40, seed=5, resamples=30)
    first = kept.sums(features)
    assert np.array_equal(first, kept.sums(features))
    assert not np.array_equal(first, Resampling(40, seed=6, resamples=30).sums(features))
    monkeypatch.setattr(bootstrap, "CELLS", 400)
    in_parts = Resampling(40, seed=5, resamples=30)
    assert np.array_equal(in_parts.sums(features), in_parts.sums(features))
    assert "_kept" not in vars(in_parts)


def test_the_interval_of_an_accuracy_is_that_of_the_normal_approximation():
    right = np.arange(2000) < 1600
    low, high = interval(Resampling(2000, seed=0).means(right))
    spread = 1.96 * np.sqrt(0.8 * 0.2 / 2000)
    assert (low, high) == pytest.approx((0.8 - spread, 0.8 + spread), abs=0.003)


def test_an_interval_of_nothing_is_none():
    assert interval(np.array([np.nan, np.nan])) is None


def test_metrics_from_counts_are_those_that_scikit_learn_computes_on_the_rows():
    random = np.random.default_rng(3)
    labels, predicted = random.integers(0, 3, 60), random.integers(0, 4, 60)  # class 3 has predictions, but no rows
    actual, chosen = one_hot(labels, 5), one_hot(predicted, 5)  # class 4 has neither
    counts = ClassCounts(*((part.sum(axis=0, dtype=float)[None]) for part in (actual * chosen, chosen, actual)))
    names = tuple("abcde")
    logits = one_hot(predicted, 5)
    assert classification.accuracy_from_counts(counts, names)[0] == classification.accuracy(labels, logits, names)
    f1 = classification.f1_macro_from_counts(counts, names)[0]
    assert f1 == pytest.approx(f1_score(labels, predicted, average="macro", zero_division=0))
    whole = classification.per_class(labels, logits, names)
    for name, figures in classification.per_class_from_counts(counts, names).items():
        for figure, values in figures.items():
            assert values[0] == pytest.approx(whole[name][figure]), (name, figure)
