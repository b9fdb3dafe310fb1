"""Which row goes into which split, and what is refused."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftx.errors import ExitCode, FtxError
from ftx.hashing import hash_folder
from ftx_plugins.data.duplicates import CONFLICT, EXACT, KEPT, NEAR, OVERLAP, resolve_duplicates
from ftx_plugins.data.sampling import draw, quotas

Clean = Callable[..., Any]
Write = Callable[[str, str], Path]
LABELS = ("a",) * 6 + ("b",) * 3 + ("c",)


def test_shares_are_exact_and_every_class_is_in_proportion(clean: Clean, write: Write, make_table: Any) -> None:
    cleaned = clean(train=write("rows.csv", make_table(1000, labels=LABELS)), near_duplicates="report")
    assert cleaned.metrics["splits"] == {"train": 720, "validation": 80, "test": 200}
    assert cleaned.metrics["classes"]["test"] == {"a": 120, "b": 60, "c": 20}
    assert cleaned.metrics["classes"]["validation"] == {"a": 48, "b": 24, "c": 8}


def test_same_input_and_seed_give_the_same_files_and_another_seed_does_not(
    clean: Clean, write: Write, make_table: Any
) -> None:
    path = write("rows.csv", make_table(300, labels=LABELS))
    first, again, other = (hash_folder(clean(seed=seed, train=path).data.path) for seed in (7, 7, 8))
    assert first == again
    assert first["test.arrow"] != other["test.arrow"]


def test_the_split_is_the_one_that_every_machine_makes(clean: Clean, write: Write, make_table: Any) -> None:
    cleaned = clean(train=write("rows.csv", make_table(40)))
    # Worked out with Python's integers from blake2b and SplitMix64, without NumPy.
    assert cleaned.texts("test") == [f"text {n}" for n in (0, 3, 4, 6, 21, 23, 33, 34)]


def test_a_rows_split_does_not_depend_on_its_place(clean: Clean, write: Write, make_table: Any) -> None:
    header, *lines = make_table(200, labels=LABELS).splitlines()
    shuffled = random.Random(1).sample(lines, len(lines))
    one = clean(train=write("a.csv", "\n".join([header, *lines])))
    two = clean(train=write("b.csv", "\n".join([header, *shuffled])))
    assert sorted(one.rows("test")) == sorted(two.rows("test"))
    assert one.meta["labels"] == two.meta["labels"]


def test_with_a_test_file_only_validation_is_split_off(clean: Clean, write: Write, make_table: Any) -> None:
    test = write("test.csv", make_table(10, "test"))
    cleaned = clean(train=write("rows.csv", make_table(100)), test=test)
    assert cleaned.metrics["splits"] == {"train": 90, "validation": 10, "test": 10}


def test_with_a_validation_file_only_test_is_split_off(clean: Clean, write: Write, make_table: Any) -> None:
    validation = write("validation.csv", make_table(10, "dev"))
    cleaned = clean(train=write("rows.csv", make_table(100)), validation=validation)
    assert cleaned.metrics["splits"] == {"train": 80, "validation": 10, "test": 20}


def test_a_split_setting_wins_over_the_folders_own(clean: Clean, write: Write, make_table: Any) -> None:
    write("set/train.csv", make_table(40))
    folder = write("set/test.csv", make_table(6, "folder")).parent
    cleaned = clean(train=folder, test=write("mine.csv", make_table(8, "mine")))
    assert all(text.startswith("mine") for text in cleaned.texts("test"))


def test_caps_hold_for_their_split_alone_and_keep_proportions(clean: Clean, write: Write, make_table: Any) -> None:
    path = write("rows.csv", make_table(1000, labels=LABELS))
    full = clean(train=path, near_duplicates="off")
    capped = clean(train=path, near_duplicates="off", max_train_rows=100, max_test_rows=50)
    assert capped.metrics["splits"] == {"train": 100, "validation": 80, "test": 50}
    assert capped.metrics["classes"]["train"] == {"a": 60, "b": 30, "c": 10}
    assert capped.rows("validation") == full.rows("validation")
    assert set(capped.rows("train")) < set(full.rows("train"))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("one,a\ntwo,a\nthree,a\n", "all 3 training rows have one label, 'a'"),
        ("1,a\n2,a\n3,a\n4,b\n5,b\n", "'b' has 2 rows, too few for a row in each of train, validation, test"),
        ("x,a\nX,a\n1,b\n2,b\n3,b\n", "'a' has 1 row, too few"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(rows: str, says: str, clean: Clean, write: Write) -> None:
    with pytest.raises(FtxError, match=says) as caught:
        clean(train=write("rows.csv", "text,label\n" + rows))
    assert caught.value.code == ExitCode.USER
    assert "data.label" in str(caught.value)


def test_three_rows_of_a_class_are_one_for_each_split(clean: Clean, write: Write, make_table: Any) -> None:
    cleaned = clean(train=write("rows.csv", make_table(100) + "1,rare\n2,rare\n3,rare\n"))
    assert [cleaned.metrics["classes"][split]["rare"] for split in ("train", "validation", "test")] == [1, 1, 1]


def test_a_label_that_training_lacks_is_refused(clean: Clean, write: Write, make_table: Any) -> None:
    test = write("test.csv", "text,label\nsomething,no\nnew,perhaps\n")
    with pytest.raises(FtxError, match="test split has labels that the training rows lack: 'perhaps' has 1 row"):
        clean(train=write("rows.csv", make_table()), test=test)


def test_a_cap_below_the_number_of_classes_is_refused(clean: Clean, write: Write, make_table: Any) -> None:
    with pytest.raises(FtxError, match=re.escape("data.max_train_rows = 2, and there are 3 classes")):
        clean(train=write("rows.csv", make_table(60, labels=LABELS)), max_train_rows=2)


def test_a_given_split_without_usable_rows_is_refused(clean: Clean, write: Write, make_table: Any) -> None:
    with pytest.raises(FtxError, match="no test row is left"):
        clean(train=write("rows.csv", make_table()), test=write("test.csv", "text,label\n,no\n"))


@pytest.mark.parametrize("seed", range(20))
def test_duplicates_are_resolved_as_a_plain_loop_would(seed: int) -> None:
    choose = random.Random(seed)
    rows = [(choose.randrange(12), choose.randrange(3), choose.randrange(3), choose.randrange(3)) for _ in range(60)]
    texts, spellings, labels, ranks = (np.array(column) for column in zip(*rows, strict=True))
    near = np.stack([texts, texts], axis=1).astype(np.uint64)
    exact = (texts * 10 + spellings).astype(np.uint64)
    resolution = resolve_duplicates(near, exact, labels, ranks)
    assert resolution.fates.tolist() == plain_fates(rows)
    several = [text for text in dict.fromkeys(texts.tolist()) if len(set(labels[texts == text])) > 1]
    assert [texts[places[0]] for places in resolution.conflicts] == several


def plain_fates(rows: list[tuple[int, int, int, int]]) -> list[int]:
    fates = [CONFLICT] * len(rows)
    for text in {row[0] for row in rows}:
        places = [place for place, row in enumerate(rows) if row[0] == text]
        top = min(rows[place][3] for place in places)
        counts = Counter(rows[place][2] for place in places if rows[place][3] == top).most_common()
        if len(counts) > 1 and counts[0][1] == counts[1][1]:
            continue
        agreeing = [place for place in places if rows[place][2] == counts[0][0]]
        first = next(place for place in agreeing if rows[place][3] == top)
        for place in agreeing:
            same = rows[place][1] == rows[first][1]
            fates[place] = OVERLAP if rows[place][3] != top else EXACT if same else NEAR
        fates[first] = KEPT
    return fates


def test_quotas_are_largest_remainders_and_leave_no_class_out() -> None:
    assert quotas(np.array([50, 30, 20]), 10).tolist() == [5, 3, 2]
    assert quotas(np.array([7, 7, 7]), 10).tolist() == [4, 3, 3]
    assert quotas(np.array([997, 2, 1]), 10).tolist() == [8, 1, 1]
    assert quotas(np.array([3, 3]), 6, leave=2).tolist() == [1, 1]
    assert quotas(np.array([5, 0, 5]), 4).tolist() == [2, 0, 2]


def test_a_draw_is_near_uniform_over_rows() -> None:
    labels = np.zeros(50, dtype=np.int64)
    identities = np.arange(50, dtype=np.uint64)
    counts = np.bincount(np.concatenate([draw(labels, 10, identities, seed) for seed in range(2000)]), minlength=50)
    # 2,000 draws of 10 of 50: 400 each, with a standard deviation of 18.
    assert abs(counts - 400).max() < 5 * 18
