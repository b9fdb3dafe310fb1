"""Two models on the rows that both were evaluated on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from ftx.errors import FtxError
from ftx.looked_at import LookedAt
from ftx_plugins.evaluate.bootstrap import CONFIDENCE, RESAMPLES, Resampling, interval
from ftx_plugins.evaluate.significance import compare_accuracy
from ftx_plugins.metrics.classification import f1_macro_from_counts
from ftx_plugins.metrics.counts import ClassCounts, count_features


def compare(a: LookedAt, b: LookedAt) -> dict[str, Any]:
    """The second model against the first: accuracy, macro F1, McNemar's test, and the verdict on the second.

    Raises `FtxError` where the two share no rows, or do not agree on what labels these have.
    """
    labels, predicted = _shared(a, b)
    resampling = Resampling(len(labels), seed=0)
    found = compare_accuracy(predicted[0] == labels, predicted[1] == labels, resampling)
    accuracies = [float((each == labels).mean()) for each in predicted]
    return {
        "a": a.to_json(),
        "b": b.to_json(),
        "split": a.split,
        "rows": len(labels),
        "bootstrap": {"confidence": CONFIDENCE, "resamples": RESAMPLES},
        "accuracy": {
            "a": accuracies[0],
            "b": accuracies[1],
            "difference": found.difference,
            "interval": found.interval,
        },
        "f1_macro": _f1(labels, predicted, resampling),
        "mcnemar": asdict(found.test),
        "verdict": found.verdict,
        "rows_needed": found.rows_needed,
        "more_rows": None if found.rows_needed is None else found.rows_needed - len(labels),
        "detectable": found.detectable,
    }


def _shared(a: LookedAt, b: LookedAt) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The labels of the rows that both looked at, and what each predicts for them, each int64 of shape (rows,)."""
    with np.load(a.evaluation.path / "logits.npz", allow_pickle=False) as kept:
        rows_a, labels_a, predicted_a = kept["row"], kept["label"], kept[a.model].argmax(axis=1)
        classes_a = kept[a.model].shape[1]
    with np.load(b.evaluation.path / "logits.npz", allow_pickle=False) as kept:
        rows_b, labels_b, predicted_b = kept["row"], kept["label"], kept[b.model].argmax(axis=1)
        classes_b = kept[b.model].shape[1]
    shared, places_a, places_b = np.intersect1d(rows_a, rows_b, assume_unique=True, return_indices=True)
    hint = f"evaluate both on the same rows: ftx eval {a.reference}; ftx eval {b.reference}"
    if not len(shared):
        raise FtxError(f"{a.reference} and {b.reference} were evaluated on different rows, and share none", hint)
    names_a, names_b = (each.evaluation.manifest.metrics.get("labels") for each in (a, b))
    if classes_a != classes_b or names_a != names_b or (labels_a[places_a] != labels_b[places_b]).any():
        raise FtxError(f"{a.reference} and {b.reference} were evaluated with different labels for the same rows", hint)
    return labels_a[places_a], (predicted_a[places_a], predicted_b[places_b])


def _f1(labels: np.ndarray, predicted: tuple[np.ndarray, np.ndarray], resampling: Resampling) -> dict[str, Any]:
    classes = int(max(labels.max(), *(each.max() for each in predicted))) + 1
    values, resampled = [], []
    for each in predicted:
        features = count_features(labels, each, classes)
        whole = ClassCounts.of(features.sum(axis=0, dtype=float)[None])
        values.append(float(f1_macro_from_counts(whole, ())[0]))
        resampled.append(f1_macro_from_counts(ClassCounts.of(resampling.sums(features)), ()))
    difference = values[1] - values[0]
    return {"a": values[0], "b": values[1], "difference": difference, "interval": interval(resampled[1] - resampled[0])}
