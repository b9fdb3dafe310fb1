"""A model's logits on rows that are tokenized already."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ftx_plugins.checkpoint import batches_of_like_length
from ftx_plugins.tasks.alignment import compact_logits
from ftx_plugins.train.tokens import Collator, TokenizedSplit


def logits_on(model: Any, rows: TokenizedSplit, collator: Collator, classes: int, batch_size: int) -> np.ndarray:
    """Logits of `rows`, float32 of shape (rows, classes), in their order; of tokens those of the words, (rows, words,
    classes), padded with zeros. The model is put in evaluation mode."""
    logits = np.zeros((*rows.labels.shape, classes) if collator.tags else (len(rows), classes), dtype=np.float32)
    device = next(model.parameters()).device
    model.eval()
    for batch in batches_of_like_length(rows.lengths.tolist(), batch_size):
        inputs = collator([rows[row] for row in batch])
        labels = inputs.pop("labels")
        with torch.inference_mode():
            found = model(**{name: values.to(device) for name, values in inputs.items()}).logits.float().cpu()
        if collator.tags:
            words = compact_logits(labels.numpy(), found.numpy())
            logits[batch, : words.shape[1]] = words
        else:
            logits[batch] = found
    return logits
