"""What the training texts are like, for the bundle: a server compares its traffic with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ftx.artifacts import Artifact
from ftx.tasks import MULTI_LABEL, REGRESSION, TOKEN_CLASSIFICATION
from ftx_plugins.checkpoint import LoadedCheckpoint
from ftx_plugins.data.splits import load_rows, split_path
from ftx_plugins.export.tokenizer import backend_tokenizer
from ftx_serving.encoder import TextEncoder
from ftx_serving.profile import LENGTH_BOUNDS, Profile, unknown_token_id
from ftx_serving.tags import TagSet

MOST_ROWS = 5000
"""A share has then a standard error of 0.7 percentage points at most."""


def profile_of(loaded: LoadedCheckpoint, encoder: TextEncoder, data: Artifact, seed: int) -> dict[str, Any] | None:
    """The profile of up to 5,000 rows of the training split, each class in proportion; None without such rows.

    Rows that an augmentation has added are no texts that came from anywhere: traffic is not compared with them.
    """
    if not split_path(data.path, "train").is_file():
        return None
    rows = load_rows(data, "train", max_rows=MOST_ROWS, seed=seed, augmented=False)
    if not rows.texts:
        return None
    encodings = encoder.encode(rows.texts, rows.pairs)
    lengths = np.array([len(encoding) for encoding in encodings])
    unknown = unknown_token_id(backend_tokenizer(loaded))
    count = 0 if unknown is None else sum(encoding.ids.count(unknown) for encoding in encodings)
    return Profile(
        texts=len(rows.texts),
        label_shares=_label_shares(rows.labels, data.meta["labels"], loaded.task),
        length_shares=[round(float((lengths <= bound).mean()), 4) for bound in LENGTH_BOUNDS],
        unknown_token_rate=float(f"{count / max(1, int(lengths.sum())):.4g}"),
    ).to_meta()


def _label_shares(labels: np.ndarray, names: Sequence[str], task: str) -> dict[str, float]:
    """Of the rows, those with each label (entities: with any of that type); several labels a row add up to more than 1,
    and numbers are no labels."""
    if task == REGRESSION:
        return {}
    if task == TOKEN_CLASSIFICATION:
        types = TagSet(tuple(names)).types
        have = [{kind for _, _, kind in entities} for entities in labels]
        return {name: _share(sum(place in each for each in have), len(labels)) for place, name in enumerate(types)}
    rows = labels.sum(axis=0) if task == MULTI_LABEL else np.bincount(labels, minlength=len(names))
    return {name: _share(float(count), len(labels)) for name, count in zip(names, rows, strict=True)}


def _share(count: float, rows: int) -> float:
    return round(count / rows, 4)
