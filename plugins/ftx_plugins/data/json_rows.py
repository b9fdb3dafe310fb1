"""Rows out of JSON: an array of objects, or an object a line. Streamed, with the place of what is wrong."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ftx.errors import FtxError
from ftx_plugins.data.columns import require_columns
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.entities import as_cell, read_spans
from ftx_plugins.data.peek import parse_object, starts_with_array

if TYPE_CHECKING:
    from ftx_plugins.data.reading import Form

FIRST_READ = 1 << 20
"""Characters of a JSON array read at first."""
LONGEST_OBJECT = 1 << 26
"""Characters: what is no object after so many is not valid JSON."""

Place = tuple[str, Mapping[str, Any]]
"""Where an object is (`line 3`, `element 3`), and the object."""


def read_json(
    stream: io.BufferedReader, path: Path, config: DataConfig, size: int, form: Form = "name"
) -> Iterator[pa.RecordBatch]:
    """Batches of up to `size` rows with the columns `text`, perhaps `text_pair`, and `label`.

    An array and lines are told apart by the first character, as `.json` is used for both. A key that an object lacks
    is null; one that none of the first batch has is an error.
    """
    is_array = starts_with_array(stream.peek(FIRST_READ).decode("utf-8", "replace"))
    objects = _array_objects(stream, path) if is_array else _line_objects(stream, path)
    first = True
    while places := list(islice(objects, size)):
        if first:
            keys = dict.fromkeys(chain.from_iterable(value for _, value in places))
            require_columns(config, tuple(keys), str(path))
            first = False
        yield _as_batch(places, path, config, form)


def _line_objects(stream: io.BufferedReader, path: Path) -> Iterator[Place]:
    for number, line in enumerate(stream, 1):
        if line.strip():
            yield f"line {number}", parse_object(line, path, number)


def _array_objects(stream: io.BufferedReader, path: Path) -> Iterator[Place]:
    reader = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    decode = json.JSONDecoder().raw_decode
    text, position, number = reader.read(FIRST_READ).lstrip()[1:], 0, 0
    while True:
        position = _skip(text, position, "," if number else "")
        if text.startswith("]", position):
            return
        try:
            value, position = decode(text, position)
        except json.JSONDecodeError as error:
            # Twice as much each time: an object cut by the end of what was read is parsed again, not quadratically.
            more = reader.read(max(FIRST_READ, len(text) - position))
            if not more or len(text) - position > LONGEST_OBJECT:
                raise FtxError(
                    f"{path}: not JSON after element {number}: {error.msg}",
                    "write one array of objects, or one object a line (.jsonl)",
                ) from None
            text, position = text[position:] + more, 0
            continue
        number += 1
        if not isinstance(value, dict):
            raise FtxError(
                f"{path}, element {number}: {type(value).__name__}, not an object", "write an array of objects"
            )
        yield f"element {number}", value


def _skip(text: str, position: int, comma: str) -> int:
    """Past white space, and a comma between elements."""
    for wanted in ("", comma, ""):
        if wanted and text.startswith(wanted, position):
            position += 1
        while position < len(text) and text[position] in " \t\r\n":
            position += 1
    return position


def _as_batch(places: list[Place], path: Path, config: DataConfig, form: Form) -> pa.RecordBatch:
    names = {"text": config.text, **({"text_pair": config.text_pair} if config.text_pair else {})}
    columns = {
        column: _array([_text(value.get(name), f"{path}, {place}", name) for place, value in places])
        for column, name in names.items()
    }
    if config.label_columns:
        cells = [[value.get(name) for name in config.label_columns] for _, value in places]
        columns["label"] = _array([json.dumps(row, ensure_ascii=False) for row in cells])
    elif config.label:
        columns["label"] = _array(
            [_label(value.get(config.label), f"{path}, {place}", config, form, value) for place, value in places]
        )
    return pa.RecordBatch.from_pydict(columns)


def _text(value: Any, where: str, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return json.dumps(value)
    raise FtxError(f"{where}: {name!r} holds {type(value).__name__}, not text", "name a column of text: data.text")


def _label(value: Any, where: str, config: DataConfig, form: Form, row: Mapping[str, Any]) -> str | None:
    match value:
        case list() if form == "entities":
            # Here the line of what is wrong is known.
            return as_cell(read_spans(_text(row.get(config.text), where, config.text) or "", value, where))
        case list() if form == "names":
            return json.dumps(value, ensure_ascii=False)
        case int() | float() if form == "number" and not isinstance(value, bool):
            return repr(value)
        case None | str():
            return value
        case bool() | int():
            return json.dumps(value)
        case float() if value != value:
            return None
        case float() if value.is_integer():
            return str(int(value))
    raise FtxError(
        f"{where}: {config.label!r} holds {json.dumps(value)[:60]}, not a label", "name a column of labels: data.label"
    )


def _array(values: list[str | None]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        # JSON may escape half of a surrogate pair (an emoji cut in two): that half becomes U+FFFD.
        return pa.array([value and _without_surrogates(value) for value in values], pa.string())


def _without_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
