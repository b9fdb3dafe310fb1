"""Data sets as the stage `data` leaves them, written with pyarrow alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from ftx.artifacts import Artifact

Row = tuple[str, ...]
"""(text, label name), or (text, text_pair, label name)."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """A tiny model gains nothing from a second thread, and waits for it wherever the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_split(path: Path, rows: Sequence[Row], labels: Sequence[str]) -> None:
    columns: dict[str, Any] = {"text": [row[0] for row in rows]}
    if rows and len(rows[0]) == 3:
        columns["text_pair"] = [row[1] for row in rows]
    columns["label"] = pa.array([labels.index(row[-1]) for row in rows], type=pa.int64())
    columns["row"] = pa.array(range(len(rows)), type=pa.int64())
    table = pa.table(columns)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


@pytest.fixture
def make_data(tmp_path: Path, as_artifact: Callable[..., Artifact]) -> Callable[..., Artifact]:
    """`make_data(train_rows, validation_rows, labels)`: a data set artifact with these rows."""
    made = 0

    def make(train: Sequence[Row], validation: Sequence[Row], labels: Sequence[str]) -> Artifact:
        nonlocal made
        made += 1
        folder = tmp_path / f"data-{made}"
        folder.mkdir()
        write_split(folder / "train.arrow", train, labels)
        write_split(folder / "validation.arrow", validation, labels)
        write_split(folder / "test.arrow", validation, labels)
        return as_artifact(folder, "dataset", labels=list(labels))

    return make
