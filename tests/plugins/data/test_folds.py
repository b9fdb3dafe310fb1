"""`data.folds`: parts of the training split for cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftx.errors import ExitCode, FtxError
from ftx.hashing import hash_folder
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.folds import assign_folds
from ftx_plugins.data.splits import FOLD, load_split

Clean = Callable[..., Any]
Write = Callable[[str, str], Path]
LABELS = ("a",) * 6 + ("b",) * 3 + ("c",)


def folds_and_labels(cleaned: Any) -> tuple[np.ndarray, np.ndarray]:
    columns = load_split(cleaned.data, "train").with_format("numpy")
    return np.asarray(columns[FOLD][:]), np.asarray(columns["label"][:])


@pytest.mark.parametrize("count", [2, 3, 5, 7])
def test_neither_folds_nor_a_class_in_them_differ_by_more_than_a_row(count: int) -> None:
    labels = np.random.default_rng(1).choice(4, size=203, p=(0.5, 0.3, 0.12, 0.08))
    folds = assign_folds(labels, np.arange(203, dtype=np.uint64), count, "abcd", seed=0)
    assert set(folds) == set(range(count))
    assert np.ptp(np.bincount(folds)) <= 1
    for label in range(4):
        assert np.ptp(np.bincount(folds[labels == label], minlength=count)) <= 1


def test_rows_of_a_cluster_share_a_fold_and_single_rows_are_dealt_as_before() -> None:
    labels, identities = np.arange(60) % 3, np.arange(60, dtype=np.uint64)
    clusters = np.arange(60)
    clusters[[3, 17, 40]] = 3
    plain = assign_folds(labels, identities, 5, "abc", seed=0)
    folds = assign_folds(labels, identities, 5, "abc", seed=0, clusters=clusters)
    assert len(set(plain[[3, 17, 40]])) > 1
    assert len(set(folds[[3, 17, 40]])) == 1
    single = np.setdiff1d(np.arange(60), [3, 17, 40])
    assert (folds[single] == plain[single]).all()


def test_the_data_step_writes_a_fold_for_each_training_row_and_for_no_other(
    clean: Clean, write: Write, make_table: Any
) -> None:
    cleaned = clean(train=write("rows.csv", make_table(300, labels=LABELS)), folds=4, near_duplicates="report")
    folds, labels = folds_and_labels(cleaned)
    assert len(folds) == cleaned.metrics["splits"]["train"]
    assert cleaned.meta["folds"] == 4
    for label in range(3):
        assert np.ptp(np.bincount(folds[labels == label], minlength=4)) <= 1
    assert FOLD not in load_split(cleaned.data, "validation").column_names
    assert FOLD not in load_split(cleaned.data, "test").column_names


def test_folds_change_nothing_of_the_splits(clean: Clean, write: Write, make_table: Any) -> None:
    path = write("rows.csv", make_table(300, labels=LABELS))
    plain, folded = clean(train=path, max_train_rows=100), clean(train=path, max_train_rows=100, folds=4)
    assert all(plain.rows(split) == folded.rows(split) for split in ("train", "validation", "test"))
    assert "folds" not in plain.meta
    assert FOLD not in load_split(plain.data, "train").column_names


def test_a_rows_fold_comes_from_its_text_and_the_seed(clean: Clean, write: Write, make_table: Any) -> None:
    path = write("rows.csv", make_table(300, labels=LABELS))
    first, again, other = (hash_folder(clean(seed=seed, train=path, folds=3).data.path) for seed in (7, 7, 8))
    assert first == again
    assert first["train.arrow"] != other["train.arrow"]
    identities = np.arange(60, dtype=np.uint64)
    labels = np.arange(60) % 3
    order = np.random.default_rng(0).permutation(60)
    shuffled = assign_folds(labels[order], identities[order], 5, "abc", seed=0)
    assert np.array_equal(shuffled, assign_folds(labels, identities, 5, "abc", seed=0)[order])


def test_more_folds_than_a_class_has_training_rows_are_refused(clean: Clean, write: Write, make_table: Any) -> None:
    path = write("rows.csv", make_table(60, labels=LABELS))  # of c: 6 rows, 4 of them to train on
    with pytest.raises(FtxError, match=r"data\.folds = 5, but 'c' has 4 training rows") as caught:
        clean(train=path, folds=5)
    assert caught.value.code == ExitCode.USER
    assert "--set data.folds=4" in caught.value.hints[-1]
    assert clean(train=path, folds=4).meta["folds"] == 4


def test_one_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="one fold leaves no rows to learn from"):
        DataConfig(train="rows.csv", folds=1)
