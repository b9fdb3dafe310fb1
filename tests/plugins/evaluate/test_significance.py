"""Whether rows tell one model from another."""

from __future__ import annotations

import numpy as np
import pytest

from ftx_plugins.evaluate.bootstrap import Resampling
from ftx_plugins.evaluate.significance import compare_accuracy, mcnemar, rows_to_tell


def right(*counts):
    """Two models on `both`, `only first`, `only second`, `neither` rows."""
    both, first, second, neither = counts
    return (
        np.repeat([True, True, False, False], [both, first, second, neither]),
        np.repeat([True, False, True, False], [both, first, second, neither]),
    )


def compare(*counts):
    first, second = right(*counts)
    return compare_accuracy(first, second, Resampling(len(first), seed=0))


def test_mcnemars_p_value_is_the_exact_binomial_one():
    test = mcnemar(*right(50, 1, 8, 3))
    assert (test.only_first, test.only_second) == (1, 8)
    assert test.p_value == pytest.approx(2 * (1 + 9) / 2**9)


def test_models_that_are_right_on_the_same_rows_cannot_be_told_apart():
    found = compare(80, 0, 0, 20)
    assert (found.verdict, found.difference, found.rows_needed, found.detectable) == ("cannot tell", 0, None, None)
    assert found.test.p_value == 1
    assert found.interval == [0, 0]


@pytest.mark.parametrize(("counts", "verdict"), [((700, 20, 60, 220), "better"), ((700, 60, 20, 220), "worse")])
def test_a_clear_difference_is_told_with_its_direction(counts, verdict):
    found = compare(*counts)
    assert found.verdict == verdict
    assert found.rows_needed is None
    assert found.interval[0] < found.difference < found.interval[1]
    assert abs(found.difference) == pytest.approx(0.04)


def test_a_small_difference_says_how_many_rows_would_tell():
    found = compare(700, 20, 26, 254)
    assert found.verdict == "cannot tell"
    assert found.interval[0] < 0 < found.interval[1]
    assert 5_000 < found.rows_needed < 15_000


def test_with_the_rows_that_are_named_four_in_five_samples_tell():
    """The formula against a simulation of McNemar's test."""
    discordant, difference = 0.1, 0.03
    rows = rows_to_tell(discordant, difference)
    random = np.random.default_rng(0)
    shares = [(discordant - difference) / 2, (discordant + difference) / 2, 1 - discordant]
    told = 0
    for only_first, only_second, both in random.multinomial(rows, shares, size=400):
        test = mcnemar(*right(both, only_first, only_second, 0))
        told += test.p_value < 0.05
    assert 0.72 < told / 400 < 0.86
