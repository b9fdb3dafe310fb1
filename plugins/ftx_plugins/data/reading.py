"""Rows out of files and hub data sets, streamed as Arrow batches of strings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from datasets import ClassLabel, Features

from ftx.errors import FtxError
from ftx.tasks import TOKEN_CLASSIFICATION
from ftx_plugins.data.columns import require_columns
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.conll import find_tags, read_conll
from ftx_plugins.data.encoding import open_utf8
from ftx_plugins.data.json_rows import read_json
from ftx_plugins.data.peek import peek_columns, separator_of
from ftx_plugins.data.sources import CONLL, Source, format_of

Form = Literal["name", "names", "number", "entities"]
"""What a label is where it is not text already: a name (an integer, a bool), a list of names, a number, or a list of
entities."""
BATCH = 8192
"""Rows of a batch where the format lets us choose."""
BLOCK = 8 << 20
"""Bytes of csv parsed at a time; also the longest row that can be read."""


@dataclass(frozen=True)
class Rows:
    """One source's rows: batches with the columns `text`, perhaps `text_pair`, and `label`, all strings with nulls."""

    batches: Iterator[pa.RecordBatch]
    label_names: tuple[str, ...] = ()
    """The label names in the source's own order, where it declares one (a `ClassLabel`); of conll files the tags, where
    these tell the scheme."""


def open_rows(source: Source, config: DataConfig, form: Form = "name") -> Rows:
    """The rows of local files, in the order of `source.files`. Raises `FtxError`, also while batches are taken."""
    formats = {"csv": _read_csv, "json": _read_json, "jsonl": _read_json, "parquet": _read_parquet}
    names: tuple[str, ...] = ()
    if format_of(source.files[0]) == CONLL:
        return _open_conll(source, config, form)
    if format_of(source.files[0]) == "parquet":
        names = class_names(Features.from_arrow_schema(_open_parquet(source.files[0]).schema_arrow), config)
    batches = (batch for path in source.files for batch in formats[format_of(path)](path, config, form))
    return Rows(batches, names)


def _open_conll(source: Source, config: DataConfig, form: Form) -> Rows:
    """Sentences; what is declared are the tags, which tell the scheme."""
    if form != "entities":
        raise FtxError(
            f"{source.name} holds a tag for each token, which is for {TOKEN_CLASSIFICATION}",
            f"set the task: --set model.task={TOKEN_CLASSIFICATION}",
        )
    # That takes a pass over the file, which a scheme that is set makes needless.
    tags = {path: find_tags(path, config) if config.scheme == "auto" else () for path in source.files}
    batches = (batch for path in source.files for batch in read_conll(path, config, BATCH, tags[path]))
    return Rows(batches, tuple(sorted({tag for each in tags.values() for tag in each})))


def class_names(features: Any, config: DataConfig) -> tuple[str, ...]:
    """The names of a `ClassLabel`, in its order; none for any other type of label."""
    feature = features.get(config.label)
    return tuple(feature.names) if isinstance(feature, ClassLabel) and feature.names else ()


def as_strings(
    batch: pa.RecordBatch, config: DataConfig, names: Sequence[str], where: str, form: Form = "name"
) -> pa.RecordBatch:
    """The wanted columns of a typed batch as strings; class numbers become names, and negative ones null.

    Where no label is wanted there is none. Lists of names, and the columns of `config.label_columns`, become JSON.
    """
    arrays = {"text": _texts(batch.column(config.text), where, config.text)}
    if config.text_pair:
        arrays["text_pair"] = _texts(batch.column(config.text_pair), where, config.text_pair)
    if config.label_columns:
        arrays["label"] = pa.array(
            [json.dumps([_plain(cell) for cell in cells]) for cells in _rows_of(batch, config.label_columns)],
            pa.string(),
        )
    elif config.label:
        arrays["label"] = _labels(batch.column(config.label), names, where, config.label, form)
    return pa.RecordBatch.from_pydict(arrays)


def _read_csv(path: Path, config: DataConfig, form: Form) -> Iterator[pa.RecordBatch]:
    require_columns(config, peek_columns(path, config) or (), str(path))
    wanted = list(dict.fromkeys(config.wanted.values()))
    # Whole files of one text column hold quoted newlines, so blocks must be cut by parsing. Types are fixed and no
    # word means null: inference would look at the first block alone, and "NA" or "null" may be a text or a label.
    parse = pa.csv.ParseOptions(delimiter=separator_of(path, config), newlines_in_values=True)
    convert = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(wanted, pa.string()),
        include_columns=wanted,
        strings_can_be_null=False,
        check_utf8=False,
    )
    # One thread: with more, errors do not know their row.
    read = pa.csv.ReadOptions(block_size=BLOCK, use_threads=False)
    try:
        with (
            open_utf8(path, config) as stream,
            pa.csv.open_csv(stream, read_options=read, parse_options=parse, convert_options=convert) as reader,
        ):
            for batch in reader:
                yield as_strings(batch, config, (), str(path), form)
    except pa.ArrowInvalid as error:
        raise _csv_error(path, error, config) from error


def _csv_error(path: Path, error: pa.ArrowInvalid, config: DataConfig) -> FtxError:
    text = str(error).removeprefix("CSV parse error: ")
    if "straddling" in text:
        text = f"a row is longer than {BLOCK >> 20} MiB: most likely a quote is never closed"
    return FtxError(
        f"{path}: {text[:300]} (rows are counted from 1, the header's)",
        'put quotes around texts that hold the separator, a line break or a quote (doubled: "")',
        f"or set the separator, now {separator_of(path, config)!r}: data.separator",
    )


def _read_json(path: Path, config: DataConfig, form: Form) -> Iterator[pa.RecordBatch]:
    with open_utf8(path, config) as stream:
        yield from read_json(stream, path, config, BATCH, form)


def _read_parquet(path: Path, config: DataConfig, form: Form) -> Iterator[pa.RecordBatch]:
    file = _open_parquet(path)
    require_columns(config, file.schema_arrow.names, str(path))
    names = class_names(Features.from_arrow_schema(file.schema_arrow), config)
    for batch in file.iter_batches(batch_size=BATCH, columns=list(config.wanted.values())):
        yield as_strings(batch, config, names, str(path), form)


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, memory_map=True)
    except pa.ArrowInvalid as error:
        raise FtxError(f"{path} is no parquet file: {error}", "write it anew, or give it the suffix it has") from error


def _texts(column: pa.Array, where: str, name: str) -> pa.Array:
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        raise FtxError(
            f"{where}: the column {name!r} holds {column.type}, not text", "name a column of text: data.text"
        )
    return _valid(column.cast(pa.string()), where, name)


def _rows_of(batch: pa.RecordBatch, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(batch.column(name).to_pylist() for name in names), strict=True)


def _plain(cell: Any) -> Any:
    """A cell of a column of ones and zeros, as JSON can hold it."""
    return cell if cell is None or isinstance(cell, bool | int | float | str) else str(cell)


def _labels(column: pa.Array, names: Sequence[str], where: str, name: str, form: Form) -> pa.Array:
    if form == "number":
        return _numbers(column, where, name)
    if form in ("names", "entities") and (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        cells = column.to_pylist()
        return pa.array([None if cell is None else json.dumps(cell, ensure_ascii=False) for cell in cells], pa.string())
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_floating(kind):
        column = _whole_numbers(column, where, name)
    elif names and pa.types.is_integer(kind):
        known = pc.if_else(pc.greater_equal(column, 0), column, None)
        return pa.array(names, pa.string()).take(known)
    elif not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)) and not (
        pa.types.is_boolean(kind) or pa.types.is_null(kind)
    ):
        raise FtxError(f"{where}: the column {name!r} holds {kind}, not labels", "name a column of labels: data.label")
    return _valid(column.cast(pa.string()), where, name)


def _numbers(column: pa.Array, where: str, name: str) -> pa.Array:
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        raise FtxError(f"{where}: the column {name!r} holds {column.type}, not numbers", "name another: data.label")
    if pa.types.is_floating(column.type):
        return pa.array([None if cell is None else repr(cell) for cell in column.to_pylist()], pa.string())
    return _valid(column.cast(pa.string()), where, name)


def _whole_numbers(column: pa.Array, where: str, name: str) -> pa.Array:
    """Labels that became floats because some are missing (NaN or null), as the integers that they were."""
    column = pc.if_else(pc.is_nan(column), None, column)
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        raise FtxError(
            f"{where}: the column {name!r} holds fractions, not labels", "name a column of labels: data.label"
        ) from None


def _valid(column: pa.Array, where: str, name: str) -> pa.Array:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise FtxError(f"{where}: the column {name!r} is not valid UTF-8: {error}", "write the file anew") from error
    return column
