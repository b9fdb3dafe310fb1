"""The splits on disk: written here by the step, and read here by all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx_plugins.data.sampling import draw

STRATUM = "stratum"
"""Column of what rows are drawn by, in proportion, where that is not the label itself."""
FOLD = "fold"
"""The column of the training split with the number of each row's fold, where `data.folds` asks for some."""
ORIGIN = "origin"
"""The column of the training split with the augmentation that has added a row, empty for rows of the source; only there
where one has added some."""
BATCH = 8192
"""Rows of each batch in a file (the last may have fewer): the same rows give the same bytes however they were read."""


@dataclass(frozen=True)
class SplitRows:
    """Rows of a split in memory."""

    texts: list[str]
    pairs: list[str] | None
    labels: np.ndarray
    """int64, shape (rows,): indices into the label names. Multi-label: int64, shape (rows, labels), 1 for each label
    that a row has. Regression: float64, shape (rows,). Token classification: objects, shape (rows,): each row's
    entities as a tuple of (start, end, type), places in characters of the text, the type one of `TagSet.types`."""
    rows: np.ndarray
    """int64, shape (rows,): each row's place in its source."""


def load_split(
    data: Artifact, split: str, max_rows: int | None = None, seed: int = 0, *, augmented: bool = True
) -> Any:
    """The split `train`, `validation` or `test` of a data set as a `datasets.Dataset`, mapped into memory.

    With `max_rows` at most so many rows, each class in proportion: the same for the same seed on every machine. Without
    `augmented` rows of the source alone.
    Raises `FtxError` if the data set has no such split.
    """
    path = split_path(data.path, split)
    if not path.is_file():
        raise FtxError(f"the data set in {data.path} has no split {split!r}", "make it anew: ftx run data")
    table = datasets.Dataset.from_file(str(path))
    if not augmented and ORIGIN in table.column_names:
        table = table.select(np.flatnonzero(of_source(table)))
    if not max_rows or max_rows >= len(table):
        return table
    labels = table.with_format("numpy")[STRATUM if STRATUM in table.column_names else "label"][:]
    chosen = draw(np.asarray(labels), max_rows, np.arange(len(table), dtype=np.uint64), seed)
    return table.select(chosen)


def of_source(table: Any) -> np.ndarray:
    """Which rows of a split (a `datasets.Dataset` or a `pyarrow.Table`) no augmentation has added, bool of shape
    (rows,)."""
    if ORIGIN not in table.column_names:
        return np.ones(len(table), dtype=bool)
    return np.asarray(np.asarray(table[ORIGIN][:], dtype=object) == "", dtype=bool)


def load_rows(
    data: Artifact, split: str, max_rows: int | None = None, seed: int = 0, *, augmented: bool = True
) -> SplitRows:
    """The same rows as of `load_split`, as lists of texts and arrays of labels."""
    table = load_split(data, split, max_rows, seed, augmented=augmented)
    rows = table.with_format("numpy", columns=["row"])[:]["row"].astype(np.int64)
    pairs = list(table["text_pair"]) if "text_pair" in table.column_names else None
    return SplitRows(list(table["text"]), pairs, labels_of(table, len(data.meta.get("labels", ()))), rows)


def labels_of(table: Any, names: int) -> np.ndarray:
    """The column `label` of a split as `SplitRows.labels` says; there are `names` label names."""
    column = table["label"][:]
    kind = table.features.arrow_schema.field("label").type
    if pa.types.is_list(kind) and pa.types.is_list(kind.value_type):
        entities = np.empty(len(column), dtype=object)
        entities[:] = [tuple(map(tuple, row)) for row in column]
        return entities
    if pa.types.is_list(kind):
        hot = np.zeros((len(column), names), dtype=np.int64)
        for row, places in enumerate(column):
            hot[row, places] = 1
        return hot
    is_number = pa.types.is_floating(kind)
    return np.asarray(column, dtype=np.float64 if is_number else np.int64)


def split_path(folder: Path, split: str) -> Path:
    """The file of a split in the folder of a data set."""
    return folder / f"{split}.arrow"


class SplitWriter:
    """Writes a split as an Arrow stream, in batches of `BATCH` rows whatever it is given."""

    def __init__(self, folder: Path, split: str, columns: Sequence[str], label: pa.DataType | None = None) -> None:
        types = {"text": pa.string(), "text_pair": pa.string(), "label": label or pa.int64()}
        self._schema = pa.schema([(name, types.get(name, pa.int64())) for name in columns])
        self._sink = pa.OSFile(str(split_path(folder, split)), "wb")
        self._writer = pa.ipc.new_stream(self._sink, self._schema)
        self._waiting = self._schema.empty_table()

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush(1)
        self._writer.close()
        self._sink.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; the columns are picked by name."""
        self._waiting = pa.concat_tables([self._waiting, pa.Table.from_batches([batch.select(self._schema.names)])])
        self._flush(BATCH)

    def _flush(self, at_least: int) -> None:
        while self._waiting.num_rows >= at_least:
            for batch in self._waiting.slice(0, BATCH).combine_chunks().to_batches():
                self._writer.write_batch(batch)
            self._waiting = self._waiting.slice(BATCH)
