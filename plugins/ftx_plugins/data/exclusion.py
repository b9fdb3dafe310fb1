"""The rows that the user has marked in a csv of `ftx data audit`, to be left out."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ftx.errors import FtxError
from ftx_plugins.data.sources import SPLITS
from ftx_plugins.data.staging import Staged

COLUMNS = ("exclude", "source", "row", "text")
UNMARKED = {"", "0", "no", "n", "false"}


@dataclass(frozen=True)
class Marked:
    """A row that is to be left out: its place in the source of a split, and its text, to be sure that it is the one."""

    source: str
    row: int
    text: str
    line: int


def find_excluded(path: str | None, staged: Staged) -> np.ndarray:
    """Whether each staged row is left out, bool of shape (rows,): it is marked, or has a marked row's text and label.

    Without the latter a duplicate would take the place of the row. Raises `FtxError` for a file that is no audit, and
    for one of other data.
    """
    excluded = np.zeros(len(staged.labels), dtype=bool)
    if path is None:
        return excluded
    places = _places(list(_read(Path(path))), staged, Path(path))
    if places:
        keys = _keys(staged)
        excluded |= np.isin(keys, keys[places])
    return excluded


def _read(path: Path) -> Iterator[Marked]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise FtxError(f"{path} is no audit: it has no column {', '.join(missing)}", _hint(path))
            for entry in reader:
                if str(entry["exclude"] or "").strip().lower() in UNMARKED:
                    continue
                source, row = entry["source"], entry["row"]
                if source not in SPLITS or not str(row).isdigit():
                    raise FtxError(f"{path}, line {reader.line_num}: no row {row!r} of {source!r} can be", _hint(path))
                yield Marked(source, int(row), entry["text"], reader.line_num)
    except (UnicodeDecodeError, csv.Error) as error:
        raise FtxError(f"{path} cannot be read: {error}", _hint(path)) from error


def _places(marked: list[Marked], staged: Staged, path: Path) -> list[int]:
    """The places of the marked rows among the staged ones, each checked by its text."""
    places = []
    for each in marked:
        # Rows come source after source, and in order within one.
        start, end = np.searchsorted(staged.splits, [SPLITS.index(each.source), SPLITS.index(each.source) + 1])
        place = int(start + np.searchsorted(staged.rows[start:end], each.row))
        if place == end or staged.rows[place] != each.row:
            raise FtxError(
                f"{path}, line {each.line}: the {each.source} source has no usable row {each.row}", _hint(path)
            )
        places.append(place)
    texts = staged.texts_at(places)
    for each, place in zip(marked, places, strict=True):
        if texts[place]["text"] != each.text:
            raise FtxError(
                f"{path}, line {each.line}: row {each.row} of the {each.source} source has another text now, "
                f"{texts[place]['text'][:60]!r}",
                _hint(path),
            )
    return places


def _keys(staged: Staged) -> np.ndarray:
    """A number for each row's text and label: equal numbers, equal both."""
    parts = np.empty(len(staged.labels), dtype=[("high", "u8"), ("low", "u8"), ("label", "i8")])
    parts["high"], parts["low"], parts["label"] = staged.near[:, 0], staged.near[:, 1], staged.labels
    keys: np.ndarray = np.unique(parts, return_inverse=True)[1]
    return keys


def _hint(path: Path) -> str:
    return f"write the file anew from the data as they are: ftx data audit --out {path.name}"
