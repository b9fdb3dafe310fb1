"""Files of every format, and what is odd about real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ftx.errors import ExitCode, FtxError

ROWS = [{"text": f"text {n}", "label": ["no", "yes"][n % 2], "id": n, "more": {"a": [n]}} for n in range(30)]
EXPECTED = sorted((row["text"], row["label"]) for row in ROWS)


def write_rows(path: Path) -> Path:
    match path.suffix:
        case ".jsonl" | ".ndjson":
            path.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
        case ".json":
            path.write_text(json.dumps(ROWS, indent=1), encoding="utf-8")
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(ROWS), path)
        case suffix:
            mark = {".csv": ",", ".tsv": "\t"}[suffix]
            lines = [mark.join((str(row["id"]), row["text"], row["label"])) for row in ROWS]
            path.write_text("\n".join([mark.join(("id", "text", "label")), *lines]), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet"])
def test_every_format_gives_the_same_rows(suffix: str, tmp_path: Path, clean: Callable[..., Any]) -> None:
    cleaned = clean(train=write_rows(tmp_path / f"rows{suffix}"))
    assert sorted(row for split in ("train", "validation", "test") for row in cleaned.rows(split)) == EXPECTED


def test_every_format_gives_the_same_bytes(tmp_path: Path, clean: Callable[..., Any]) -> None:
    contents = {
        (clean(train=write_rows(tmp_path / f"rows{suffix}")).data.path / "train.arrow").read_bytes()
        for suffix in (".csv", ".json", ".parquet")
    }
    assert len(contents) == 1


def test_a_json_file_may_hold_an_object_a_line(clean: Callable[..., Any], write: Callable[..., Path]) -> None:
    path = write("rows.json", "\n".join(map(json.dumps, ROWS)))
    assert sorted(clean(train=path).texts()) == [text for text, _ in EXPECTED]


def test_a_json_array_longer_than_what_is_read_at_once(
    clean: Callable[..., Any], write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftx_plugins.data.json_rows.FIRST_READ", 7)
    assert sorted(clean(train=write("rows.json", json.dumps(ROWS))).texts()) == [text for text, _ in EXPECTED]


def test_half_a_surrogate_pair_in_json_is_replaced_and_counted(
    clean: Callable[..., Any], write: Callable[..., Path]
) -> None:
    lines = [json.dumps(row) for row in ROWS] + ['{"text": "cut \\ud83d", "label": "no"}']
    cleaned = clean(train=write("rows.jsonl", "\n".join(lines)))
    assert "cut \ufffd" in cleaned.texts()
    assert cleaned.metrics["replaced_characters"] == 1


def test_csv_with_quoted_line_breaks_bom_and_crlf(clean: Callable[..., Any], write: Callable[..., Path]) -> None:
    quoted = "".join(f'"line {n}\r\nand ""more"", {n}",{n % 2}\r\n' for n in range(12))
    cleaned = clean(train=write("rows.csv", "\ufefftext,label\r\n" + quoted))
    assert sorted(cleaned.texts()) == sorted(f'line {n}\r\nand "more", {n}' for n in range(12))


def test_words_that_often_mean_null_are_texts_and_labels(clean: Callable[..., Any], write: Callable[..., Path]) -> None:
    rows = "".join(f"{n} NA,null\n{n} null,NA\n" for n in range(10)) + "null,NA\nNA,null\n"
    cleaned = clean(train=write("rows.csv", "text,label\n" + rows))
    assert cleaned.meta["labels"] == ["NA", "null"]
    assert {"null", "NA"} <= set(cleaned.texts())


def test_another_separator(
    clean: Callable[..., Any], write: Callable[..., Path], make_table: Callable[..., str]
) -> None:
    cleaned = clean(train=write("rows.csv", make_table().replace(",", ";")), separator=";")
    assert cleaned.metrics["rows"]["kept"] == 30


def test_labels_keep_a_stable_order(clean: Callable[..., Any], write: Callable[..., Path], make_table: Any) -> None:
    numbers = clean(train=write("n.csv", make_table(40, labels=("10", "9", "-1", "2"))))
    words = clean(train=write("w.csv", make_table(40, labels=("b", "10", "a", "9"))))
    assert numbers.meta["labels"] == ["-1", "2", "9", "10"]
    assert words.meta["labels"] == ["10", "9", "a", "b"]


@pytest.mark.parametrize(
    ("values", "expected"), [((True, False), ["false", "true"]), ((2, 10), ["2", "10"]), ((1.0, 0.0), ["0", "1"])]
)
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_labels_may_be_bools_and_numbers(
    values: tuple[Any, ...], expected: list[str], suffix: str, clean: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / f"rows{suffix}"
    rows = [{"text": f"text {n}", "label": values[n % 2]} for n in range(20)]
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert clean(train=path).meta["labels"] == expected


def hub_table(rows: int = 40) -> Any:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["worse", "better", "never"])})
    rows_of = {"sentence": [f"text {n}" for n in range(rows)], "label": [n % 2 for n in range(rows)]}
    return Dataset.from_dict(rows_of, features=features)


def test_a_class_label_keeps_its_own_order(clean: Callable[..., Any], tmp_path: Path) -> None:
    hub_table().to_parquet(tmp_path / "rows.parquet")
    cleaned = clean(train=tmp_path / "rows.parquet", text="sentence")
    assert cleaned.meta["labels"] == ["worse", "better"]
    assert set(cleaned.rows("train")) <= {(f"text {n}", ["worse", "better"][n % 2]) for n in range(40)}


def test_a_hub_data_set_brings_its_splits_and_label_order(
    clean: Callable[..., Any], tmp_path: Path, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "owner-name"
    folder.mkdir()
    hub_table().to_parquet(folder / "train.parquet")
    unlabelled = hub_table(6).map(lambda row: {"sentence": "test " + row["sentence"], "label": -1})
    unlabelled.to_parquet(folder / "test.parquet")
    cleaned = clean(train=f"hub:{folder}", text="sentence")
    assert cleaned.meta["labels"] == ["worse", "better"]
    assert cleaned.metrics["rows"]["missing_label"] == 6
    assert cleaned.metrics["splits"] == {"train": 29, "validation": 3, "test": 8}
    assert any("no usable rows" in message for message in recorder.messages("warning"))


def test_an_unknown_hub_id_says_what_to_check(clean: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(FtxError, match=r"reveiws.*cannot be loaded") as caught:
        clean(train="hub:nobody/reveiws")
    assert caught.value.code == ExitCode.USER


def test_rows_are_counted_across_blocks_and_one_longer_than_a_block_is_refused(
    clean: Callable[..., Any], write: Callable[..., Path], make_table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftx_plugins.data.reading.BLOCK", 256)
    assert clean(train=write("fine.csv", make_table(100))).metrics["rows"]["kept"] == 100
    with pytest.raises(FtxError, match="Row #102: Expected 2 columns, got 3"):
        clean(train=write("wide.csv", make_table(100) + "a,b,c\n"))
    with pytest.raises(FtxError, match="a quote is never closed"):
        clean(train=write("open.csv", make_table(100) + '"open,no\n' + make_table(100)))


def test_a_folder_with_split_names_gives_the_splits(
    clean: Callable[..., Any], write: Callable[..., Path], make_table: Callable[..., str], recorder: Any
) -> None:
    write("set/train-1.csv", make_table(20, "first"))
    write("set/train-2.csv", make_table(20, "second"))
    write("set/dev.csv", make_table(4, "dev"))
    write("set/my_test.csv", make_table(6, "test"))
    write("set/leftover.csv", make_table(2, "extra"))
    write("set/README.md", "about")
    cleaned = clean(train=write("set/.hidden.csv", "x").parent)
    assert cleaned.metrics["splits"] == {"train": 40, "validation": 4, "test": 6}
    assert any("leftover.csv" in message for message in recorder.messages("warning"))


def test_subfolders_name_splits_as_well(
    clean: Callable[..., Any], write: Callable[..., Path], make_table: Callable[..., str]
) -> None:
    write("set/train/test-like-name.csv", make_table(20))
    write("set/test/a.csv", make_table(6, "test"))
    cleaned = clean(train=write("set/validation/b.csv", make_table(4, "dev")).parents[1])
    assert cleaned.metrics["splits"] == {"train": 20, "validation": 4, "test": 6}


def test_a_folder_without_split_names_is_all_for_training(
    clean: Callable[..., Any], write: Callable[..., Path], make_table: Callable[..., str]
) -> None:
    write("set/a.csv", make_table(10, "a"))
    cleaned = clean(train=write("set/b.csv", make_table(10, "b")).parent)
    assert cleaned.metrics["rows"]["kept"] == 20
    assert cleaned.metrics["splits"]["test"] == 4


def test_a_folder_of_several_formats_is_refused(clean: Callable[..., Any], write: Callable[..., Path]) -> None:
    write("set/a.csv", "text,label\n")
    with pytest.raises(FtxError, match=r"several formats.*a\.csv.*b\.jsonl"):
        clean(train=write("set/b.jsonl", "{}").parent)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "text,label\na,1\nb,1,2\n", "Row #3: Expected 2 columns, got 3"),
        ("a.csv", 'text,label\n"never closed,1\nb,2\n', "Expected 2 columns"),
        ("a.csv", "text,label\n", "a header and no rows"),
        ("a.csv", "", "0 bytes"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": \n', "line 2: not JSON"),
        ("a.jsonl", '{"text": "a", "label": 1}\n[1]\n', "line 2: list, not an object"),
        ("a.jsonl", '{"text": "a", "label": [1]}\n', r"'label' holds \[1\], not a label"),
        ("a.json", '[{"text": "a", "label": 1}, 7]', "element 2: int, not an object"),
        ("a.json", '[{"text": "a", "label": 1}, {"text"', "not JSON after element 1"),
        ("a.json", '{"data": [{"text": "a", "label": 1}]}', "no column 'text'"),
        ("a.parquet", "text,label\n", "no parquet file"),
        ("a.xlsx", "x", "suffix .xlsx"),
    ],
)
def test_a_broken_file_gives_one_clear_error(
    name: str, content: str, says: str, clean: Callable[..., Any], write: Callable[..., Path]
) -> None:
    with pytest.raises(FtxError, match=says) as caught:
        clean(train=write(name, content))
    assert caught.value.code == ExitCode.USER
    assert caught.value.hints
