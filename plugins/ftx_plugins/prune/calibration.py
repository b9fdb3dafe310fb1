"""Calibration rows: a sample of the training split, tokenized and padded in batches of like length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ftx import Artifact, Context, FtxError
from ftx_plugins.checkpoint import LoadedCheckpoint, batches_of_like_length
from ftx_plugins.data.splits import load_rows
from ftx_plugins.labels import label_places
from ftx_plugins.tasks.encoding import OTHER_LABELS, in_order_of_head
from ftx_plugins.tasks.scoring import Scoring, scoring_of

BATCH = 32
"""Rows in a batch; what is computed does not depend on it."""


@dataclass(frozen=True)
class Calibration:
    """`batches` are the model's inputs, int64 of shape (rows, length); `rows` are their places in `labels`."""

    batches: tuple[dict[str, torch.Tensor], ...]
    rows: tuple[np.ndarray, ...]
    labels: np.ndarray
    """As `SplitRows` has them, in the order of the model's head."""
    scoring: Scoring
    mean_length: float
    """Tokens of a row."""

    def __len__(self) -> int:
        return len(self.labels)


def read_calibration(data: Artifact, loaded: LoadedCheckpoint, count: int, context: Context) -> Calibration:
    """`count` training rows, each class in proportion; with a warning fewer, if there are not as many."""
    split = load_rows(data, "train", max_rows=count, seed=context.seed)
    if not split.texts:
        raise FtxError("the data set has no training rows to calibrate on", "see what became of them: ftx show data")
    if len(split.texts) < count:
        context.warn(f"prune.calibration_rows = {count}, but there are {len(split.texts)} training rows: all are taken")
    encoded = loaded.tokenizer(split.texts, split.pairs, truncation=True, max_length=loaded.max_length)
    lengths = [len(ids) for ids in encoded["input_ids"]]
    rows = tuple(batches_of_like_length(lengths, BATCH))
    batches = tuple(_pad(loaded.tokenizer, encoded, chosen) for chosen in rows)
    order = label_places(data.meta["labels"], loaded.labels, OTHER_LABELS)
    labels = in_order_of_head(split.labels, loaded.task, order, len(loaded.labels))
    scoring = scoring_of(loaded.task, loaded.labels, thresholds=loaded.thresholds, tolerance=data.meta.get("tolerance"))
    return Calibration(batches, rows, labels, scoring, float(np.mean(lengths)))


def logits_of(model: Any, calibration: Calibration) -> torch.Tensor:
    """The model's logits on all rows, float32 of shape (rows, classes), in the rows' order."""
    device = next(model.parameters()).device
    parts = []
    with torch.inference_mode():
        for batch in calibration.batches:
            parts.append(model(**{name: values.to(device) for name, values in batch.items()}).logits.float().cpu())
    logits = torch.cat(parts)
    ordered = torch.empty_like(logits)
    ordered[torch.from_numpy(np.concatenate(calibration.rows))] = logits
    return ordered.clone()


def accuracy_on(model: Any, calibration: Calibration) -> float:
    """The accuracy on the calibration rows, or the figure that takes its place in the model's task."""
    return calibration.scoring.share_right(calibration.labels, logits_of(model, calibration).numpy())


def _pad(tokenizer: Any, encoded: Any, rows: np.ndarray) -> dict[str, torch.Tensor]:
    chosen = {name: [values[row] for row in rows] for name, values in encoded.items()}
    return dict(tokenizer.pad(chosen, return_tensors="pt"))
