"""Where a model lost: by label and by length."""

from __future__ import annotations

import numpy as np
import pytest

from ftx_plugins.evaluate.bootstrap import Resampling
from ftx_plugins.evaluate.slices import by_slice, length_slices


def test_quartiles_of_length_part_the_rows_by_length_alone():
    lengths = np.array([3, 3, 4, 5, 6, 7, 8, 9])
    slices = length_slices(lengths)
    assert list(slices) == ["3-3", "4-5", "6-7", "8-9"]
    assert sum(rows.astype(int) for rows in slices.values()).tolist() == [1] * 8


@pytest.mark.parametrize(("lengths", "names"), [([5] * 10, ["5-5"]), ([5] * 9 + [7], ["5-5", "7-7"])])
def test_rows_of_one_length_are_never_parted(lengths, names):
    assert list(length_slices(np.array(lengths))) == names


def test_the_slice_that_lost_most_comes_first_with_its_paired_interval():
    labels = np.zeros(200, dtype=int)
    reference = np.zeros(200, dtype=int)
    predicted = np.where(np.arange(200) % 4 == 3, 1, 0)  # every fourth row is wrong now, all in the slice `odd`
    slices = {"even": np.arange(200) % 2 == 0, "odd": np.arange(200) % 2 == 1, "none": np.zeros(200, dtype=bool)}
    worst, other = by_slice(
        slices, predicted == labels, reference == labels, predicted != reference, Resampling(200, seed=0)
    )
    assert (worst["slice"], worst["rows"], worst["accuracy"], worst["change"], worst["flips"]) == (
        "odd",
        100,
        0.5,
        -0.5,
        50,
    )
    low, high = worst["change_interval"]
    assert low < -0.5 < high < -0.3
    assert (other["slice"], other["change"], other["flips"]) == ("even", 0, 0)
    assert other["change_interval"] == [0, 0]


def test_without_a_reference_the_least_accurate_slice_comes_first():
    labels, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    found = by_slice({"a": labels == 0, "b": labels == 1}, predicted == labels, None, None, Resampling(4, seed=0))
    assert [(entry["slice"], entry["accuracy"]) for entry in found] == [("b", 0.5), ("a", 1.0)]
    assert "change" not in found[0]
