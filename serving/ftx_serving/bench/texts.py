"""Texts to measure with, from a file."""

from __future__ import annotations

from pathlib import Path

from ftx.errors import FtxError

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
