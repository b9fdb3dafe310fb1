"""What new rows are worth, cheaply: a linear probe with and without them, on the validation rows.

The probe is a logistic regression on vectors of the encoder that the step was given, which stays frozen. It is no
fine-tuning: that may gain more from the same rows, or less. What it says honestly is whether these rows, with these
labels, move a simple classifier towards the validation rows, and how sure that is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from ftx.artifacts import Artifact
from ftx.step import Context
from ftx_plugins.augment.config import AugmentConfig
from ftx_plugins.data.sampling import draw
from ftx_plugins.data.splits import load_rows
from ftx_plugins.embedding import Embedder, probe_probabilities
from ftx_plugins.evaluate.bootstrap import Resampling, interval


def measure_gain(
    table: pa.Table, added: pa.Table, model: Artifact, data: Artifact, config: AugmentConfig, context: Context
) -> dict[str, Any] | None:
    """Accuracy on validation rows without and with the new rows, the difference, its paired 95% interval, a verdict.

    The probe learns from `probe_rows` training rows, each label in proportion, and the new rows that were made from
    those. None without a probe, or where rows have no single label.
    """
    if not config.probe_rows or not pa.types.is_integer(table.schema.field("label").type):
        return None
    labels = table["label"].to_numpy()
    chosen = draw(labels, min(config.probe_rows, len(labels)), np.arange(len(labels), dtype=np.uint64), context.seed)
    numbers = table["row"].to_numpy()[chosen]
    related = np.flatnonzero(np.isin(added["row"].to_numpy(), numbers))
    validation = load_rows(data, "validation", config.probe_rows, context.seed)
    embedder = Embedder(model.path, trust_remote_code=context.model.trust_remote_code, device=context.device)

    def embed(rows: pa.Table, doing: str) -> np.ndarray:
        pairs = rows["text_pair"].to_pylist() if "text_pair" in rows.column_names else None
        return embedder.embed(
            rows["text"].to_pylist(), pairs, lambda done, total: context.progress(done, total, "rows", doing=doing)
        )

    old, new = (
        embed(table.take(pa.array(chosen)), "probe: old rows"),
        embed(added.take(pa.array(related)), "probe: new rows"),
    )
    others = embedder.embed(validation.texts, validation.pairs)
    old_labels, new_labels = labels[chosen], added["label"].to_numpy()[related]
    classes = len(data.meta["labels"])
    without = probe_probabilities(old, old_labels, others, classes).argmax(axis=1) == validation.labels
    both = probe_probabilities(np.concatenate([old, new]), np.concatenate([old_labels, new_labels]), others, classes)
    with_new = both.argmax(axis=1) == validation.labels
    difference = with_new.astype(np.float64) - without
    low, high = interval(Resampling(len(difference), context.seed).means(difference)) or (0.0, 0.0)
    return {
        "measured_by": "logistic regression on the frozen encoder's vectors, validation accuracy",
        "training_rows": len(chosen),
        "new_rows": len(related),
        "validation_rows": len(difference),
        "without": float(without.mean()),
        "with": float(with_new.mean()),
        "difference": float(difference.mean()),
        "interval": [low, high],
        "verdict": "better" if low > 0 else "worse" if high < 0 else "not clearly better",
    }
