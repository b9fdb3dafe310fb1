"""What is found while the plan is made."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftx.errors import Problem
from ftx.step import ModelSettings
from ftx_plugins.data.check import check
from ftx_plugins.data.config import DataConfig

Write = Callable[..., Path]


def problems(train: Path | str, **settings: Any) -> list[Problem]:
    return list(check(DataConfig(train=str(train), **settings), ModelSettings("tiny")))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "\ufeffid,text,label\r\n1,a,b\r\n"),
        ("a.tsv", "text\tlabel\na\tb\n"),
        ("a.jsonl", '{"text": "a"}\n{"text": "a", "label": 1}\n'),
        ("a.json", '[{"text": "a", "label": 1}]'),
    ],
)
def test_good_files_have_no_problem(name: str, content: str, write: Write) -> None:
    assert problems(write(name, content)) == []


def test_every_missing_column_is_named_with_the_nearest_and_those_that_are_there(write: Write) -> None:
    found = problems(write("a.csv", "Texts,sentiment,id\na,b,1\n"))
    assert [problem.where for problem in found] == ["data.text", "data.label"]
    assert "did you mean 'Texts'?" in found[0].message
    assert "It has: Texts, sentiment, id" in found[1].message
    assert found[0].hints == ('set it: --set data.text="Texts"',)


def test_keys_of_jsonl_are_columns(write: Write) -> None:
    (problem,) = problems(write("a.jsonl", '{"text": "a", "y": 1}\n'), label="yy")
    assert "a.jsonl has no column 'yy'; did you mean 'y'?" in problem.message


def test_a_column_that_is_there_twice_is_a_problem(write: Write) -> None:
    (problem,) = problems(write("a.csv", "text,label,text\na,b,c\n"))
    assert "2 columns called 'text'" in problem.message


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "", "0 bytes"),
        ("a.csv", "\n\n", "no header"),
        ("a.csv", "text,label\n\n", "a header and no rows"),
        ("a.jsonl", "\n", "holds no rows"),
        ("a.jsonl", "text,label\n", "line 1: not JSON"),
        ("a.txt", "a", "suffix .txt"),
    ],
)
def test_a_file_that_could_never_be_read_is_a_problem(name: str, content: str, says: str, write: Write) -> None:
    (problem,) = problems(write(name, content))
    assert says in problem.message
    assert problem.where.startswith("data")
    assert problem.hints


def test_each_given_split_is_looked_at(write: Write) -> None:
    good = write("train.csv", "text,label\na,b\n")
    found = problems(good, validation=str(write("v.csv", "text,labels\na,b\n")), test=str(write("t.csv", "")))
    assert ["v.csv has no column 'label'" in found[0].message, found[1].where] == [True, "data.test"]


def test_hub_ids_are_left_to_the_step() -> None:
    assert problems("hub:owner/name") == []


def test_a_file_of_ten_gigabytes_is_checked_at_once(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    with path.open("wb") as file:
        file.write(b"text,label\na,b\n")
        file.truncate(10 << 30)
    started = time.perf_counter()
    assert problems(path) == []
    assert time.perf_counter() - started < 0.5


def test_checking_imports_nothing_heavy() -> None:
    script = (
        "import sys, ftx_plugins.data.hooks, ftx_plugins.data.check;"
        "print({'numpy', 'pyarrow', 'torch', 'datasets', 'transformers'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(("header", "mark"), [("text;label", '";"'), ("text\tlabel", '"\\t"'), ("a|text|label", '"|"')])
def test_another_separator_is_recognised_and_how_to_set_it_is_said(header: str, mark: str, write: Write) -> None:
    (problem,) = problems(write("a.csv", f"{header}\nx\n"))
    assert problem.where == "data.separator"
    assert problem.hints == (f"set the separator: --set 'data.separator={mark}'",)


def test_leaked_rows_cannot_be_dropped_where_nobody_looks_for_them(write: Write) -> None:
    path = write("a.csv", "text,label\na,b\n")
    (problem,) = problems(path, drop_leaked=True, near_duplicates="off")
    assert problem.where == "data.drop_leaked"
    assert "does not look for them" in problem.message
    assert problems(path, drop_leaked=True, near_duplicates="report") == []


def test_labels_cannot_be_the_texts(write: Write) -> None:
    (problem,) = problems(write("a.csv", "text,label\na,b\n"), label="text")
    assert "'text' is the column of texts too" in problem.message
