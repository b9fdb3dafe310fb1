"""Exact quantiles of raw samples, and how far they may be trusted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ftx_loadtests.statistics import (
    block_length,
    estimate_quantiles,
    fewest_samples,
    goodput,
    mean_estimate,
    quantile,
    share_estimate,
)


def dependent(random: np.random.Generator, count: int, memory: float) -> np.ndarray:
    """Log-normal latencies whose logarithm remembers the one before."""
    noise = random.normal(size=count) * math.sqrt(1 - memory**2)
    noise[0] = random.normal()
    for place in range(1, count):
        noise[place] += memory * noise[place - 1]
    return np.exp(noise)


@pytest.mark.parametrize(("q", "expected"), [(0.5, 5.0), (0.51, 6.0), (0.9, 9.0), (0.99, 10.0), (0.1, 1.0)])
def test_a_quantile_is_a_sample_that_was_measured(q, expected):
    values = np.random.default_rng(0).permutation(np.arange(1.0, 11.0))
    assert quantile(values, q) == expected


def test_every_quantile_agrees_with_the_inverse_of_the_distribution_function():
    values = np.random.default_rng(1).lognormal(size=997)
    for q in (0.01, 0.5, 0.9, 0.95, 0.99, 0.999):
        assert quantile(values, q) == np.quantile(values, q, method="inverted_cdf")


def test_a_failure_counts_as_infinitely_slow():
    values = np.full(1000, 0.01)
    values[:11] = math.inf
    found = estimate_quantiles(values)
    assert found[0.95] is not None and found[0.95].value == 0.01
    assert found[0.99] is not None and found[0.99].value == math.inf and found[0.99].high == math.inf


def test_no_quantile_is_told_from_too_few_samples():
    assert (fewest_samples(0.99), fewest_samples(0.95), fewest_samples(0.5)) == (500, 100, 10)
    random = np.random.default_rng(2)
    assert estimate_quantiles(random.random(499))[0.99] is None
    assert estimate_quantiles(random.random(500))[0.99] is not None
    assert estimate_quantiles(random.random(99))[0.95] is None
    assert all(found is None for found in estimate_quantiles(np.array([])).values())


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(3).lognormal(size=2000)
    assert estimate_quantiles(values, seed=4) == estimate_quantiles(values, seed=4)
    assert estimate_quantiles(values, seed=4) != estimate_quantiles(values, seed=5)


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_intervals_hold_the_true_quantile_about_as_often_as_they_say(memory):
    random = np.random.default_rng(6)
    truth = {0.5: 1.0, 0.95: math.exp(1.6448536)}
    held = dict.fromkeys(truth, 0)
    for seed in range(40):
        found = estimate_quantiles(dependent(random, 800, memory), tuple(truth), seed=seed)
        for q, value in truth.items():
            estimate = found[q]
            assert estimate is not None
            held[q] += estimate.low <= value <= estimate.high
    # Of 40 at 95% fewer than 34 would be seen once in a hundred; blocks of finite length cover somewhat less.
    assert min(held.values()) >= (34 if memory == 0 else 30), held


def test_blocks_are_short_for_independent_samples_and_long_for_those_that_remember():
    random = np.random.default_rng(7)
    assert block_length(random.lognormal(size=4000)) <= 8
    assert block_length(dependent(random, 4000, 0.95)) >= 30
    assert block_length(np.full(1000, 0.01)) == 1


def test_intervals_of_what_remembers_are_wider():
    random = np.random.default_rng(8)
    wide, narrow = (estimate_quantiles(dependent(random, 4000, memory))[0.5] for memory in (0.95, 0.0))
    assert wide is not None and narrow is not None
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_a_mean_lies_in_its_interval():
    found = mean_estimate(np.random.default_rng(9).normal(10.0, 1.0, size=2500))
    assert (
        found is not None and found.low < 10.0 < found.high and found.high - found.low == pytest.approx(0.078, rel=0.4)
    )
    assert mean_estimate(np.array([])) is None


def test_goodput_counts_right_answers_in_time():
    assert goodput(np.array([0.05, 0.1, 0.2, math.inf]), slo=0.1, seconds=2.0) == 1.0


def test_a_share_of_none_has_an_upper_bound():
    found = share_estimate(0, 100)
    assert found.value == 0 and found.low == 0 and found.high == pytest.approx(0.037, abs=0.001)
