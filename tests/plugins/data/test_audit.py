"""`ftx data audit`: which rows it shows, in which order, and what marking them does."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftx.errors import FtxError
from ftx_plugins.data.audit import DUPLICATE, LABEL, NEAR, audit, out_of_fold, write_csv

Clean = Callable[..., Any]
OTHER = {"positive": "negative", "negative": "neutral", "neutral": "positive"}


def flipped_rows(rows: list[tuple[str, str]], share: float) -> tuple[list[tuple[str, str]], set[str]]:
    """The rows with the labels of a share of them changed, and the texts of those."""
    chosen = set(random.Random(1).sample(range(len(rows)), int(len(rows) * share)))
    noisy = [(text, OTHER[label] if place in chosen else label) for place, (text, label) in enumerate(rows)]
    return noisy, {rows[place][0] for place in chosen}


def as_table(rows: list[tuple[str, str]]) -> str:
    return "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows)


def test_flipped_labels_come_first_with_the_right_suggestion(
    clean: Clean, write: Callable[..., Path], make_sentences: Any, tiny_encoder: Path
) -> None:
    truth = make_sentences(400, seed=5)
    noisy, flipped = flipped_rows(truth, 0.08)
    cleaned = clean(train=write("rows.csv", as_table(noisy)))
    found = audit(cleaned.data, tiny_encoder, splits=["train"], folds=5, seed=0)
    in_train = flipped & set(cleaned.texts("train"))
    first = found.entries[: len(in_train)]
    hits = [entry for entry in first if entry.text in in_train]
    assert len(hits) >= 0.6 * len(in_train)  # by chance: 8%
    right = dict(truth)
    assert sum(entry.suggested == right[entry.text] for entry in hits) >= 0.8 * len(hits)
    assert [entry.self_confidence for entry in first] == sorted(entry.self_confidence or 0 for entry in first)
    assert all(entry.row == [text for text, _ in noisy].index(entry.text) for entry in found.entries)
    assert all(entry.reasons == LABEL and entry.exclude == "" for entry in first)


def test_a_rows_own_label_has_no_part_in_its_probabilities() -> None:
    random_vectors = np.random.default_rng(0).normal(size=(200, 150))
    labels = np.random.default_rng(1).integers(0, 2, 200)
    probabilities = out_of_fold(random_vectors, labels, np.arange(200), 2, 5, 0)
    assert (probabilities.argmax(axis=1) == labels).mean() < 0.65
    doubled = out_of_fold(np.tile(random_vectors, (2, 1)), np.tile(labels, 2), np.arange(400), 2, 5, 0)
    assert (doubled.argmax(axis=1) == np.tile(labels, 2)).mean() > 0.8  # what a copy in another fold gives away
    clustered = out_of_fold(np.tile(random_vectors, (2, 1)), np.tile(labels, 2), np.tile(np.arange(200), 2), 2, 5, 0)
    assert (clustered.argmax(axis=1) == np.tile(labels, 2)).mean() < 0.65


def test_contradicting_duplicates_and_near_duplicates_are_listed_with_their_group(
    clean: Clean, write: Callable[..., Path], make_sentences: Any, tiny_encoder: Path
) -> None:
    rows = make_sentences(120, seed=6)
    same = [("the very same text of four rows", label) for label in ("neutral", "neutral", "negative", "neutral")]
    near = [
        (f"nearly the same text was written here by two people {n}", label)
        for n, label in ((1, "positive"), (2, "neutral"))
    ]
    cleaned = clean(train=write("rows.csv", as_table([*same, *near, *rows])), test_size=0.1)
    found = audit(cleaned.data, tiny_encoder, splits=["train", "validation", "test"], folds=3, seed=0)
    duplicates = [entry for entry in found.entries if DUPLICATE in entry.reasons]
    assert sorted(entry.row for entry in duplicates) == [0, 1, 2, 3]
    assert {entry.group for entry in duplicates} == {"d1"}
    assert [entry.split != "" for entry in sorted(duplicates, key=lambda each: each.row)] == [True, False, False, False]
    neighbours = [entry for entry in found.entries if NEAR in entry.reasons]
    assert sorted(entry.row for entry in neighbours) == [4, 5]
    assert {entry.group for entry in neighbours} == {"n1"}
    assert (found.conflicting_groups, found.conflicting_clusters) == (1, 1)


def test_a_row_that_another_split_holds_is_not_listed_as_one_that_was_dropped(
    clean: Clean, write: Callable[..., Path], make_sentences: Any, tiny_encoder: Path
) -> None:
    same = "the very same text"
    train = write("rows.csv", as_table([*make_sentences(60, seed=6), (same, "neutral")]))
    test = write("test.csv", as_table([*make_sentences(40, seed=7), (same, "negative")]))
    cleaned = clean(train=train, test=test)
    duplicates = {
        splits: [(each.source, each.split) for each in found.entries if DUPLICATE in each.reasons]
        for splits in ("train", "test")
        for found in [audit(cleaned.data, tiny_encoder, splits=[splits], folds=3, seed=0)]
    }
    assert duplicates == {"train": [("train", "")], "test": [("test", "test"), ("train", "")]}


def test_carriage_returns_in_texts_neither_part_rows_nor_hinder_marks(
    clean: Clean, write: Callable[..., Path], make_sentences: Any, tiny_encoder: Path, tmp_path: Path
) -> None:
    text = "an old\rMac's text"
    rows = [*make_sentences(90, seed=6), (text, "neutral"), (text, "negative"), (text, "neutral")]
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    path = write("rows.jsonl", "\n".join(lines))
    found = audit(clean(train=path).data, tiny_encoder, splits=["train", "validation", "test"], folds=3, seed=0)
    assert sorted(each.row for each in found.entries if DUPLICATE in each.reasons) == [90, 91, 92]
    write_csv([replace(each, exclude="x" if each.text == text else "") for each in found.entries], tmp_path / "a.csv")
    assert clean(train=path, exclude=tmp_path / "a.csv").metrics["rows"]["excluded"] == 3


def test_marked_rows_are_left_out_with_their_duplicates_and_counted(
    clean: Clean, write: Callable[..., Path], make_sentences: Any, tiny_encoder: Path, tmp_path: Path, recorder: Any
) -> None:
    rows = make_sentences(150, seed=7)
    path = write("rows.csv", as_table([*rows, rows[3]]))
    found = audit(clean(train=path).data, tiny_encoder, splits=["train", "validation", "test"], folds=3, seed=0)
    file = tmp_path / "audit.csv"
    write_csv(found.entries, file)
    lines = list(csv.DictReader(file.open(encoding="utf-8", newline="")))
    assert len(lines) == len(found.entries) > 3
    marked = [line["text"] for line in lines[:2]] + [rows[3][0]]
    lines[0]["exclude"], lines[1]["exclude"], lines[2]["exclude"] = "x", "yes", "0"
    lines.append({**lines[0], "exclude": "1", "source": "train", "row": "3", "text": rows[3][0]})
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    without = clean(train=path, exclude=file)
    expected = len(set(marked)) + 1  # the row that repeats row 3
    assert without.metrics["rows"]["excluded"] == expected
    assert not set(marked) & set(without.texts())
    assert lines[2]["text"] in without.texts()
    assert any(text.startswith(f"{expected} rows were left out") for text in recorder.messages("warning"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("text,row\na,1\n", "is no audit: it has no column exclude, source"),
        ("exclude,source,row,text\nx,train,900,a\n", "line 2: the train source has no usable row 900"),
        ("exclude,source,row,text\nx,train,0,another\n", "row 0 of the train source has another text now, 'text 0'"),
        ("exclude,source,row,text\nx,dev,0,text 0\n", "no row '0' of 'dev' can be"),
    ],
)
def test_an_audit_of_other_data_is_refused(
    content: str, says: str, clean: Clean, write: Callable[..., Path], make_table: Any
) -> None:
    with pytest.raises(FtxError, match=says) as caught:
        clean(train=write("rows.csv", make_table()), exclude=write("audit.csv", content))
    assert "ftx data audit --out" in str(caught.value)


def test_more_folds_than_rows_of_a_label_are_refused(
    clean: Clean, write: Callable[..., Path], make_table: Any, tiny_encoder: Path
) -> None:
    data = clean(train=write("rows.csv", make_table(30) + "1,rare\n2,rare\n3,rare\n")).data
    with pytest.raises(FtxError, match="5 folds need 5 rows of each label: 'rare' has 1"):
        audit(data, tiny_encoder, splits=["train"], folds=5, seed=0)


def test_a_file_with_marks_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "audit.csv").write_text("exclude\nx\n", encoding="utf-8")
    with pytest.raises(FtxError, match="is there already"):
        write_csv([], tmp_path / "audit.csv")
    assert (tmp_path / "audit.csv").read_text(encoding="utf-8") == "exclude\nx\n"
