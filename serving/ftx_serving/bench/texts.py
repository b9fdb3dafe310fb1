"""Texts to measure with where there is no data set: a file, a line each, or a bundle's golden examples."""

from __future__ import annotations

import json
from pathlib import Path

from ftx.artifacts import Bundle
from ftx.errors import FtxError
from ftx_serving.contract import GOLDEN_FILE

Columns = tuple[list[str], list[str] | None]
"""Texts, and second texts."""


def read_texts(path: Path, *, pair: bool) -> Columns:
    """The lines of a UTF-8 file; with `pair` each holds two texts, a tab between them. Empty lines are left out."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise FtxError(f"{path} is not UTF-8: {error}", f"convert it: iconv -f gb18030 -t utf-8 {path}") from None
    except OSError as error:
        raise FtxError(f"{path} cannot be read: {error.strerror}", "name a file with a text in each line") from None
    if not lines:
        raise FtxError(f"{path} holds no text", "put a text in each line, of the lengths that traffic has")
    if not pair:
        return lines, None
    if short := next((number for number, line in enumerate(lines, 1) if "\t" not in line), None):
        raise FtxError(
            f"text {short} of {path} is no pair of texts, which this model classifies", "put a tab between the two"
        )
    return [line.split("\t", 1)[0] for line in lines], [line.split("\t", 1)[1] for line in lines]


def golden_texts(bundle: Bundle) -> Columns:
    """The texts that the export kept, from the shortest to the longest."""
    lines = (bundle.path / GOLDEN_FILE).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    pairs = [row["text_pair"] for row in rows if "text_pair" in row]
    return [row["text"] for row in rows], pairs or None
