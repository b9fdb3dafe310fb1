"""The columns of a file from its first bytes, whatever its size. Light."""

from __future__ import annotations

import codecs
import csv
import io
import json
from pathlib import Path

from ftx.errors import FtxError
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.encoding import BOM
from ftx_plugins.data.sources import format_of

PEEK = 1 << 16
"""Bytes read."""


def peek_columns(path: Path, config: DataConfig) -> tuple[str, ...] | None:
    """The columns of a csv, tsv or jsonl file; None where only reading it tells (json, parquet).

    Raises `FtxError` for a file without rows. Bytes that are not valid are the reader's business.
    """
    if path.stat().st_size == 0:
        raise FtxError(f"{path} is empty (0 bytes)", "give a file with rows")
    match format_of(path):
        case "csv":
            return _csv_columns(path, config)
        case "jsonl":
            return _jsonl_columns(path, config)
        case _:
            return None


def separator_of(path: Path, config: DataConfig) -> str:
    """The character between columns."""
    return config.separator or ("\t" if path.suffix.lower() == ".tsv" else ",")


def starts_with_array(text: str) -> bool:
    """Whether JSON text is an array; if not, it may be an object a line."""
    return text.lstrip().startswith("[")


def _csv_columns(path: Path, config: DataConfig) -> tuple[str, ...]:
    text, is_whole = _first_text(path, config)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator_of(path, config))
    filled = (row for row in rows if row)
    header = next(filled, None)
    if header is None:
        raise FtxError(f"{path} is empty: it holds no header", "give a file with a header and rows")
    if is_whole and next(filled, None) is None:
        raise FtxError(f"{path} holds a header and no rows", "give a file with rows")
    return tuple(header)


def _jsonl_columns(path: Path, config: DataConfig) -> tuple[str, ...] | None:
    text, is_whole = _first_text(path, config)
    if starts_with_array(text):
        return None
    lines = text.split("\n")
    complete = lines if is_whole else lines[:-1]
    filled = [(number, line) for number, line in enumerate(complete, 1) if line.strip()]
    if not filled:
        if is_whole:
            raise FtxError(f"{path} holds no rows", "give a file with rows")
        return None
    columns: dict[str, None] = {}
    for number, line in filled:
        columns.update(dict.fromkeys(parse_object(line, path, number)))
    return tuple(columns)


def parse_object(line: str | bytes, path: Path, number: int) -> dict[str, object]:
    """The JSON object of one line; `FtxError` where there is none."""
    try:
        value = json.loads(line)
    except ValueError as error:
        raise FtxError(f"{path}, line {number}: not JSON: {error}", "write one JSON object a line") from None
    if not isinstance(value, dict):
        raise FtxError(f"{path}, line {number}: {type(value).__name__}, not an object", "write one JSON object a line")
    return value


def _first_text(path: Path, config: DataConfig) -> tuple[str, bool]:
    """The first characters, and whether they are the whole file."""
    with path.open("rb") as file:
        start = file.read(PEEK)
        is_whole = not file.read(1)
    # Incremental: the last character may be cut in two.
    text = codecs.getincrementaldecoder(config.codec)("replace").decode(start, final=is_whole)
    return text.removeprefix(BOM), is_whole
