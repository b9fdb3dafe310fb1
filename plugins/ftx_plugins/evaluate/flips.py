"""The rows whose label is not the reference's, as tables that a spreadsheet opens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ftx_plugins.data.csv_table import write_table
from ftx_plugins.evaluate.rows import Rows
from ftx_plugins.tasks.scoring import Scoring

FLIPS = "flips.csv"
NEGATIVE_FLIPS = "negative_flips.csv"


@dataclass(frozen=True)
class Flip:
    """A row whose prediction changed. A margin is the probability of the best label less that of the next, from 0 to 1;
    multi-label: the least distance of a label's probability from its threshold; regression: 0."""

    variant: str
    """Empty for a checkpoint."""
    row: int
    """Its place in the source."""
    text: str
    label: str
    before: str
    """What the reference predicts."""
    after: str
    margin_before: float
    margin_after: float
    text_pair: str = ""


def find_flips(
    variant: str | None, logits: np.ndarray, expected: np.ndarray, rows: Rows, scoring: Scoring
) -> list[Flip]:
    """The rows on which `logits` and the reference's (`expected`), both of shape (rows, classes), say something
    else."""
    before, after = scoring.said(expected), scoring.said(logits)
    wanted = scoring.wanted(rows.labels)
    margins_before, margins_after = scoring.margins(expected), scoring.margins(logits)
    return [
        Flip(
            variant=variant or "",
            row=int(rows.row[place]),
            text=rows.texts[place],
            label=wanted[place],
            before=before[place],
            after=after[place],
            margin_before=_rounded(margins_before[place]),
            margin_after=_rounded(margins_after[place]),
            text_pair=rows.pairs[place] if rows.pairs is not None else "",
        )
        for place in np.flatnonzero(scoring.decoder.changed(expected, logits)).tolist()
    ]


def write_flips(folder: Path, flips: Iterable[Flip], *, pairs: bool) -> None:
    """Write `flips.csv`, and those that were right and are wrong to `negative_flips.csv`; the largest change first."""
    ordered = sorted(flips, key=lambda flip: (-(flip.margin_before + flip.margin_after), flip.variant, flip.row))
    columns = [field.name for field in fields(Flip) if pairs or field.name != "text_pair"]
    _write(folder / FLIPS, ordered, columns)
    _write(folder / NEGATIVE_FLIPS, [flip for flip in ordered if flip.before == flip.label], columns)


def _write(path: Path, flips: Sequence[Flip], columns: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        write_table(file, [columns, *([getattr(flip, column) for column in columns] for flip in flips)])


def _rounded(margin: float) -> float:
    return 0.0 if np.isnan(margin) else round(float(margin), 4)
