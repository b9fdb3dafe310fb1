"""Reading a split back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftx.errors import FtxError
from ftx_plugins.data.splits import load_rows, load_split


@pytest.fixture
def cleaned(clean: Callable[..., Any], write: Callable[..., Path], make_table: Any) -> Any:
    return clean(train=write("rows.csv", make_table(400, labels=("a", "a", "a", "b"))))


def test_a_split_is_mapped_into_memory(cleaned: Any) -> None:
    table = load_split(cleaned.data, "train")
    assert [file["filename"] for file in table.cache_files] == [str(cleaned.data.path / "train.arrow")]
    assert table.features["label"].dtype == table.features["row"].dtype == "int64"
    assert len(table) == cleaned.meta["rows"]["train"]


def test_a_cap_is_stratified_seeded_and_in_order(cleaned: Any) -> None:
    one, again, other = (load_rows(cleaned.data, "train", 40, seed) for seed in (1, 1, 2))
    assert Counter(one.labels.tolist()) == {0: 30, 1: 10}
    assert one.texts == again.texts != other.texts
    assert one.rows.tolist() == sorted(one.rows)
    assert set(one.texts) < set(cleaned.texts("train"))


@pytest.mark.parametrize("cap", [None, 0, 10_000])
def test_a_cap_that_caps_nothing_gives_all_rows(cap: int | None, cleaned: Any) -> None:
    assert len(load_split(cleaned.data, "validation", cap)) == cleaned.meta["rows"]["validation"]


def test_a_cap_leaves_no_files_behind(cleaned: Any) -> None:
    before = sorted(cleaned.data.path.iterdir())
    load_split(cleaned.data, "train", 10)["text"]
    assert sorted(cleaned.data.path.iterdir()) == before


def test_an_unknown_split_is_an_error(cleaned: Any) -> None:
    with pytest.raises(FtxError, match="no split 'dev'"):
        load_split(cleaned.data, "dev")
