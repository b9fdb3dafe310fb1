"""Targets that are not one label a row: how they are read, split, kept, and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ftx.errors import FtxError
from ftx_plugins.data.splits import SplitRows, load_rows
from ftx_plugins.tasks.targets import strata_of_sets

Write = Callable[[str, str], Path]
Clean = Callable[..., Any]
MULTI = "multi-label-classification"


def sets_of(cleaned: Any) -> dict[str, set[str]]:
    """Text -> names of its labels, of all splits."""
    found = {}
    for split in ("train", "validation", "test"):
        rows = load_rows(cleaned.data, split)
        for text, hot in zip(rows.texts, rows.labels, strict=True):
            found[text] = {cleaned.meta["labels"][place] for place in np.flatnonzero(hot)}
    return found


def expected_sets(rows: int = 60) -> dict[str, set[str]]:
    """Each third row has no label, one, or two."""
    return {f"text {n}": set(["a", "b"][: n % 3]) for n in range(rows)}


def as_cells(join: Callable[[set[str]], Any]) -> list[tuple[str, Any]]:
    return [(text, join(names)) for text, names in expected_sets().items()]


def in_csv(write: Write) -> Path:
    cells = as_cells(lambda names: ";".join(sorted(names)))
    return write("rows.csv", "text,label\n" + "".join(f"{text},{cell}\n" for text, cell in cells))


def in_jsonl(write: Write) -> Path:
    cells = as_cells(lambda names: sorted(names, reverse=True))
    return write("rows.jsonl", "\n".join(json.dumps({"text": text, "label": cell}) for text, cell in cells))


def in_parquet(write: Write) -> Path:
    path = write("rows.parquet", "")
    texts, cells = zip(*as_cells(sorted), strict=True)
    pq.write_table(pa.table({"text": list(texts), "label": pa.array(cells, pa.list_(pa.string()))}), path)
    return path


@pytest.mark.parametrize("place", [in_csv, in_jsonl, in_parquet])
def test_sets_of_labels_come_out_of_every_format_as_they_went_in(
    place: Callable[[Write], Path], write: Write, clean: Clean
) -> None:
    separator = {"label_separator": ";"} if place is in_csv else {}
    cleaned = clean(task=MULTI, train=place(write), **separator)
    assert cleaned.meta["labels"] == ["a", "b"]
    assert sets_of(cleaned) == expected_sets()


def test_lists_of_labels_with_long_offsets_are_lists_like_others(write: Write, clean: Clean) -> None:
    path = write("rows.parquet", "")
    texts, cells = zip(*as_cells(sorted), strict=True)
    pq.write_table(pa.table({"text": list(texts), "label": pa.array(cells, pa.large_list(pa.string()))}), path)
    assert sets_of(clean(task=MULTI, train=path)) == expected_sets()


def test_columns_of_ones_and_zeros_are_sets_of_labels_in_the_columns_order(write: Write, clean: Clean) -> None:
    cells = as_cells(lambda names: f"{int('b' in names)},{'yes' if 'a' in names else 'no'}")
    path = write("rows.csv", "text,b,a\n" + "".join(f"{text},{cell}\n" for text, cell in cells))
    cleaned = clean(task=MULTI, train=path, label_columns=("b", "a"))
    assert cleaned.meta["labels"] == ["b", "a"]
    assert sets_of(cleaned) == expected_sets()


def test_a_cell_that_says_neither_yes_nor_no_is_an_error_that_names_row_and_column(write: Write, clean: Clean) -> None:
    path = write("rows.csv", "text,a,b\none,1,0\ntwo,0,maybe\n")
    with pytest.raises(FtxError, match=r"data\.train, row 2: the column 'b' holds 'maybe'") as caught:
        clean(task=MULTI, train=path, label_columns=("a", "b"))
    assert caught.value.hints


def test_the_same_labels_in_another_order_are_no_contradiction(write: Write, clean: Clean) -> None:
    rows = [{"text": "same", "label": order} for order in (["a", "b"], ["b", "a"])]
    rows += [{"text": f"text {n}", "label": ["a"]} for n in range(20)]
    cleaned = clean(task=MULTI, train=write("rows.jsonl", "\n".join(map(json.dumps, rows))))
    assert cleaned.metrics["conflicts"]["groups"] == 0
    assert cleaned.metrics["rows"]["duplicates_exact"] == 1


def test_each_label_has_its_share_of_every_split(write: Write, clean: Clean) -> None:
    cleaned = clean(task=MULTI, train=in_csv(write), label_separator=";")
    classes = cleaned.metrics["classes"]
    # Of the 60 rows 40 have a, and 20 of these b too; a split has its share of them, to within a row.
    for split, rows in cleaned.metrics["splits"].items():
        assert abs(classes[split]["a"] - rows * 40 / 60) <= 1
        assert abs(classes[split]["b"] - rows * 20 / 60) <= 1


def test_a_rare_set_of_labels_is_stratified_by_its_rarest_label() -> None:
    # Rows with {0} are many; {0, 1} and {1, 2} occur once each, and of their labels 1 and 2 are the rarer ones.
    strata = strata_of_sets([(0,), (0, 1), (1, 2), ()], np.array([0] * 12 + [1, 2, 3]), 3)
    assert len(set(strata[:12])) == 1
    assert len({strata[0], strata[12], strata[13], strata[14]}) == 4


def test_labels_of_the_test_rows_that_no_training_row_has_are_an_error(write: Write, clean: Clean) -> None:
    train = write("train.csv", "text,label\n" + "".join(f"text {n},a\n" for n in range(20)))
    test = write("test.csv", "text,label\nother,b\n")
    with pytest.raises(FtxError, match="the test split has labels that the training rows lack: b"):
        clean(task=MULTI, train=train, test=test)


def numbers(split: str, cleaned: Any) -> SplitRows:
    return load_rows(cleaned.data, split)


def test_numbers_come_out_as_they_went_in_and_are_stratified(write: Write, clean: Clean) -> None:
    values = {f"text {n}": n / 4 for n in range(200)}
    path = write("rows.csv", "text,stars\n" + "".join(f"{text},{value}\n" for text, value in values.items()))
    cleaned = clean(task="regression", train=path, label="stars", near_duplicates="off")
    assert cleaned.meta["labels"] == ["stars"]
    for split in ("train", "validation", "test"):
        rows = numbers(split, cleaned)
        assert {text: values[text] for text in rows.texts} == dict(zip(rows.texts, rows.labels.tolist(), strict=True))
    # A tenth of the rows lies in each decile of the targets.
    test = numbers("test", cleaned).labels
    assert np.histogram(test, bins=10, range=(0, 50))[0].tolist() == [4] * 10


def test_the_tolerance_is_a_tenth_of_the_spread_of_the_training_targets_unless_it_is_set(
    write: Write, clean: Clean
) -> None:
    path = write("rows.csv", "text,label\n" + "".join(f"text {n},{n % 7}\n" for n in range(60)))
    cleaned = clean(task="regression", train=path)
    train = numbers("train", cleaned).labels
    assert cleaned.meta["tolerance"] == pytest.approx(train.std() / 10, rel=1e-5)
    assert cleaned.meta["target"]["mean"] == pytest.approx(train.mean())
    assert clean(task="regression", train=path, tolerance=0.25).meta["tolerance"] == 0.25


def test_a_text_in_the_column_of_numbers_is_an_error_that_names_the_row(write: Write, clean: Clean) -> None:
    path = write("rows.csv", "text,label\na,1\nb,2.5\nc,good\n")
    with pytest.raises(FtxError, match=r"data\.train, row 3: 'good' in the column 'label' is not a number") as caught:
        clean(task="regression", train=path)
    assert "--set model.task=text-classification" in " ".join(caught.value.hints)


def test_numbers_that_are_all_alike_are_refused(write: Write, clean: Clean) -> None:
    path = write("rows.csv", "text,label\n" + "".join(f"text {n},3\n" for n in range(20)))
    with pytest.raises(FtxError, match="have one target, 3"):
        clean(task="regression", train=path)
