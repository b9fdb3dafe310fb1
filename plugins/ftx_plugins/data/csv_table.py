"""Rows as csv that reads back as it was written. Light."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import Any, TextIO


def write_table(file: TextIO, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows that end with a line feed; `file` is opened with `newline=""`."""
    plain = csv.writer(file, lineterminator="\n")
    # A lone carriage return would go unquoted, since it is no part of the line's end here, and readers end a row at it.
    quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        (quoting if any("\r" in cell for cell in row if isinstance(cell, str)) else plain).writerow(row)
