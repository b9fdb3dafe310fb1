"""Intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from ftx_serving.bench.statistics import bootstrap, ratio


def test_the_ratio_of_two_entrants_is_paired_by_round() -> None:
    drift = np.linspace(0, 3, 8)  # the machine slows down twentyfold: both feel it
    found = ratio(list(np.log(2) - drift), list(-drift))
    assert found.value == pytest.approx(2)
    assert found.low == pytest.approx(2)
    assert found.high == pytest.approx(2)


def test_rounds_that_only_one_entrant_has_are_left_out() -> None:
    assert ratio([0.0, 0.0], [0.0, 0.0, 9.0]).value == 1


def test_one_round_says_nothing_about_its_spread() -> None:
    found = ratio([0.5], [0.1])
    assert (found.low, found.high) == (0, float("inf"))


@pytest.mark.parametrize("rounds", [3, 5, 20])
def test_the_interval_of_a_ratio_holds_the_truth_as_often_as_it_says(rounds: int) -> None:
    draw = np.random.default_rng(1)
    trials = 600
    held = sum(
        found.low <= 1.5 <= found.high
        for _ in range(trials)
        if (found := ratio(list(np.log(1.5) + draw.normal(0, 0.1, rounds)), [0.0] * rounds))
    )
    assert 0.92 <= held / trials <= 0.985


def test_being_sure_takes_a_wider_interval() -> None:
    logs, other = [0.1, 0.2, 0.15, 0.12], [0.0] * 4
    assert ratio(logs, other, sure=True).high > ratio(logs, other).high


def test_the_bootstrap_draws_rounds_and_not_samples() -> None:
    rounds = [np.full(100, value) for value in (1.0, 1.0, 2.0, 2.0)]
    found = bootstrap(rounds, lambda values: float(values.mean()))
    assert found.value == 1.5
    # Drawn one by one, 400 samples would give ±0.05.
    assert found.low <= 1.25
    assert found.high >= 1.75
