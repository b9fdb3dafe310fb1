"""Real texts to measure with: the lengths that traffic will have."""

from __future__ import annotations

from ftx.artifacts import Artifact
from ftx_plugins.export.rows import read_rows, texts_of

MOST = 1000


def texts_of_data(data: Artifact, most: int = MOST) -> tuple[list[str], list[str] | None]:
    """Up to `most` texts, evenly spaced over the validation split (the training split, if empty), and second texts."""
    rows = read_rows(data)
    step = max(1, -(-len(rows) // most))
    return texts_of(rows[::step])
