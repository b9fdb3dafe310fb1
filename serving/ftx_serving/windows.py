"""Texts that are longer than the model's input, read in overlapping windows whose logits are averaged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MOST = 16
"""Windows of one text; what lies behind them is cut."""
OVERLAP = 4
"""Neighbouring windows share the fourth part of the longest input, so that no phrase is cut in both."""


def pool(logits: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """The mean over the windows of each text: of shape (texts, outputs), from (windows, outputs), in float32.

    `counts` are the windows of each text, in order. A text of one window keeps its very logits.
    """
    if len(counts) == len(logits):
        return logits
    ends = np.cumsum(counts)
    rows = [logits[end - count : end].mean(axis=0, dtype=np.float64) for count, end in zip(counts, ends, strict=True)]
    return np.stack(rows).astype(np.float32)
