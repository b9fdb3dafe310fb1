"""All rows whose text has several labels, as a csv in the data set: written by the step, read by the audit."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ftx_plugins.data.csv_table import write_table
from ftx_plugins.data.duplicates import KEPT, Resolution
from ftx_plugins.data.sources import SPLITS
from ftx_plugins.data.staging import Staged

FILE = "conflicts.csv"
COLUMNS = ("group", "source", "row", "label", "kept", "text", "text_pair")


def write_conflicts(folder: Path, staged: Staged, resolution: Resolution) -> None:
    """Write `conflicts.csv` into the folder of the data set: a line for each row of each contradictory group."""
    places = np.concatenate(resolution.conflicts) if resolution.conflicts else np.zeros(0, dtype=np.int64)
    texts = staged.texts_at(places.tolist())
    with (folder / FILE).open("w", encoding="utf-8", newline="") as file:
        write_table(file, [COLUMNS, *_lines(staged, resolution, texts)])


def read_conflicts(folder: Path) -> list[dict[str, Any]]:
    """The lines of `conflicts.csv`, with numbers as numbers."""
    with (folder / FILE).open(encoding="utf-8", newline="") as file:
        return [
            {**line, "group": int(line["group"]), "row": int(line["row"]), "kept": line["kept"] == "1"}
            for line in csv.DictReader(file)
        ]


def _lines(staged: Staged, resolution: Resolution, texts: Mapping[int, Mapping[str, str]]) -> Iterator[tuple[Any, ...]]:
    for group, rows in enumerate(resolution.conflicts):
        for place in rows.tolist():
            label = staged.names[staged.labels[place]]
            kept = int(resolution.fates[place] == KEPT)
            source = SPLITS[staged.splits[place]]
            text = texts[place]
            yield group, source, int(staged.rows[place]), label, kept, text["text"], text.get("text_pair", "")
