"""What is dropped, what is kept, and what is said about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftx.errors import ExitCode, FtxError

Clean = Callable[..., Any]
Write = Callable[[str, str], Path]


def test_empty_texts_and_missing_labels_are_counted_and_dropped(
    clean: Clean, write: Write, make_table: Any, recorder: Any
) -> None:
    rows = make_table() + ',no\n"  \t",no\n\u3000,yes\nno label,\nno label either,  \n,\n'
    cleaned = clean(train=write("rows.csv", rows))
    assert cleaned.metrics["rows"]["empty_text"] == 4
    assert cleaned.metrics["rows"]["missing_label"] == 2
    assert cleaned.metrics["rows"]["kept"] == 30
    assert any("4 rows without text" in message for message in recorder.messages("warning"))


def test_nulls_in_json_are_missing(clean: Clean, write: Write) -> None:
    rows: list[dict[str, Any]] = [{"text": f"text {n}", "label": n % 2} for n in range(20)]
    rows += [{"text": None, "label": 1}, {"label": 1}, {"text": "a", "label": None}, {"text": "b"}]
    cleaned = clean(train=write("rows.json", json.dumps(rows)))
    assert cleaned.metrics["rows"]["empty_text"] == 2
    assert cleaned.metrics["rows"]["missing_label"] == 2


@pytest.mark.parametrize("rows", [" ,no\n\t,yes\n", "some text,\nanother,\n"])
def test_no_usable_row_at_all_is_an_error(rows: str, clean: Clean, write: Write) -> None:
    with pytest.raises(FtxError, match="none of the 2 training rows is usable") as caught:
        clean(train=write("rows.csv", "text,label\n" + rows))
    assert caught.value.code == ExitCode.USER


@pytest.mark.parametrize(
    "copy",
    [
        "Café Größe No",
        "  Café Größe No ",
        "café größe no",
        "CAFÉ GRÖSSE NO",
        "Cafe\u0301 Größe\t No",
        "Ｃafé\u00a0Größe №",
    ],
)
def test_a_near_exact_duplicate_is_dropped_and_the_first_text_kept_as_it_was(
    copy: str, clean: Clean, write: Write, make_table: Any
) -> None:
    cleaned = clean(train=write("rows.csv", make_table() + f"Café Größe No,no\n{copy},no\n"))
    assert cleaned.metrics["rows"]["kept"] == 31
    assert "Café Größe No" in cleaned.texts()
    exact = copy.strip() == "Café Größe No"
    assert cleaned.metrics["rows"]["duplicates_exact"] == int(exact)
    assert cleaned.metrics["rows"]["duplicates_near"] == int(not exact)


def test_texts_that_differ_in_a_letter_or_an_accent_both_stay(clean: Clean, write: Write, make_table: Any) -> None:
    cleaned = clean(train=write("rows.csv", make_table() + "cafe,no\ncafé,no\ncafes,no\n"))
    assert cleaned.metrics["rows"]["kept"] == 33


def test_the_majority_settles_a_conflict_and_a_tie_drops_the_text(
    clean: Clean, write: Write, make_table: Any, recorder: Any
) -> None:
    rows = make_table() + "Settled,no\nsettled,yes\nSETTLED,yes\ntied,no\nTied,yes\n"
    cleaned = clean(train=write("rows.csv", rows))
    kept = dict(row for split in ("train", "validation", "test") for row in cleaned.rows(split))
    assert kept["settled"] == "yes"
    assert not {"Settled", "SETTLED", "tied", "Tied"} & set(kept)
    assert cleaned.metrics["conflicts"] == {
        "groups": 2,
        "rows": 5,
        "settled_by_majority": 1,
        "dropped_groups": 1,
        "groups_across_splits": 0,
    }
    assert cleaned.report["conflict_examples"] == [
        {"text": "Settled", "labels": {"yes": 2, "no": 1}, "kept": "yes"},
        {"text": "tied", "labels": {"no": 1, "yes": 1}, "kept": None},
    ]
    assert any("2 texts have several labels" in message for message in recorder.messages("warning"))


def test_pairs_are_duplicates_only_if_both_texts_are(clean: Clean, write: Write) -> None:
    rows = "".join(f"first {n},second {n},{n % 2}\n" for n in range(20))
    extra = "FIRST 1, second 1,1\nfirst 1,second 2,1\nfirst 1 s,econd 2,1\nalone,,1\n,alone,1\n"
    cleaned = clean(train=write("rows.csv", "text,other,label\n" + rows + extra), text_pair="other")
    assert cleaned.metrics["rows"]["duplicates_near"] == 1
    assert cleaned.metrics["rows"]["empty_text"] == 2
    assert cleaned.metrics["rows"]["kept"] == 22
    assert cleaned.meta["columns"] == ["text", "text_pair", "label", "row"]
    assert ("first 1", "second 2", "1") in [r for s in ("train", "validation", "test") for r in cleaned.rows(s)]


def test_duplicates_never_straddle_given_splits_and_test_wins(clean: Clean, write: Write, make_table: Any) -> None:
    train = write("train.csv", make_table() + "in all,no\nin both,no\nin test,no\ntwisted,no\ntwisted,no\n")
    validation = write("validation.csv", "text,label\nIn All,no\nIn Both,no\nonly here,yes\n")
    test = write("test.csv", "text,label\nIN ALL,no\nIN TEST,no\nTwisted,yes\n")
    cleaned = clean(train=train, validation=validation, test=test)
    assert cleaned.rows("test") == [("IN ALL", "no"), ("IN TEST", "no"), ("Twisted", "yes")]
    assert cleaned.rows("validation") == [("In Both", "no"), ("only here", "yes")]
    assert cleaned.metrics["splits"]["train"] == 30
    assert cleaned.metrics["rows"]["duplicates_across_splits"] == 4
    assert cleaned.metrics["conflicts"]["groups_across_splits"] == 1


def test_every_row_read_is_accounted_for(clean: Clean, write: Write, make_table: Any) -> None:
    rows = make_table(100) + make_table(10)[11:] + ",no\nx,\nTEXT 1,yes\ntext 2,yes\n text 3,no\n"
    cleaned = clean(train=write("rows.csv", rows), test=write("t.csv", make_table(8)), max_train_rows=50)
    counts = dict(cleaned.metrics["rows"])
    assert counts.pop("read") == sum(counts.values()) == 123
    assert sum(cleaned.metrics["splits"].values()) == counts["kept"]


def test_the_row_column_leads_back_to_the_source(clean: Clean, write: Write) -> None:
    from ftx_plugins.data.splits import load_rows

    lines = [f"text {n},{n % 2}" if n % 3 else f",{n % 2}" for n in range(60)]
    cleaned = clean(train=write("rows.csv", "text,label\n" + "\n".join(lines)))
    rows = load_rows(cleaned.data, "train")
    assert rows.texts == [f"text {n}" for n in rows.rows]
    assert list(rows.rows) == sorted(rows.rows)


def test_lengths_are_those_of_the_tokenizer(clean: Clean, write: Write, tiny_encoder: Path) -> None:
    import numpy as np
    from transformers import AutoTokenizer

    texts = [" ".join(["good"] * (n * 3 + 1)) + f" n{n}" for n in range(40)]
    path = write("rows.csv", "text,label\n" + "".join(f"{text},{n % 2}\n" for n, text in enumerate(texts)))
    tokens = clean(train=path, near_duplicates="off").metrics["tokens"]
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    expected = np.array([len(tokenizer(text)["input_ids"]) for text in texts])
    assert tokens["max"] == expected.max() > 64
    assert tokens["mean"] == pytest.approx(expected.mean(), abs=0.01)
    assert tokens["p50"] == np.sort(expected)[19]
    assert tokens["model_limit"] == 64
    assert tokens["longer_than_model_limit"] == tokens["longer_than"]["64"] == (expected > 64).sum() > 0


def test_the_report_names_no_folder_of_this_machine(
    clean: Clean, write: Write, make_table: Any, tmp_path: Path
) -> None:
    cleaned = clean(train=write("rows.csv", make_table()))
    assert cleaned.report["sources"]["train"]["source"] == "rows.csv"
    assert str(tmp_path) not in json.dumps(cleaned.report)
