"""What the training texts are like, for the bundle: a server compares its traffic with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftx.artifacts import Artifact
from ftx_plugins.checkpoint import LoadedCheckpoint
from ftx_plugins.data.splits import load_rows, split_path
from ftx_plugins.export.tokenizer import backend_tokenizer
from ftx_serving.encoder import TextEncoder
from ftx_serving.profile import LENGTH_BOUNDS, Profile, unknown_token_id

MOST_ROWS = 5000
"""A share has then a standard error of 0.7 percentage points at most."""


def profile_of(loaded: LoadedCheckpoint, encoder: TextEncoder, data: Artifact, seed: int) -> dict[str, Any] | None:
    """The profile of up to 5,000 rows of the training split, each class in proportion; None without such rows."""
    if not split_path(data.path, "train").is_file():
        return None
    rows = load_rows(data, "train", max_rows=MOST_ROWS, seed=seed)
    if not rows.texts:
        return None
    encodings = encoder.encode(rows.texts, rows.pairs)
    lengths = np.array([len(encoding) for encoding in encodings])
    unknown = unknown_token_id(backend_tokenizer(loaded))
    count = 0 if unknown is None else sum(encoding.ids.count(unknown) for encoding in encodings)
    names = data.meta["labels"]
    found = np.bincount(rows.labels, minlength=len(names)) / len(rows.labels)
    return Profile(
        texts=len(rows.texts),
        label_shares={name: round(float(share), 4) for name, share in zip(names, found, strict=True)},
        length_shares=[round(float((lengths <= bound).mean()), 4) for bound in LENGTH_BOUNDS],
        unknown_token_rate=float(f"{count / max(1, int(lengths.sum())):.4g}"),
    ).to_meta()
