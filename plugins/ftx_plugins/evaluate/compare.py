"""Two models on the rows that both were evaluated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ftx.errors import FtxError
from ftx.looked_at import LookedAt
from ftx.scoreboard import model_name
from ftx.tasks import TEXT_CLASSIFICATION
from ftx_plugins.evaluate.bootstrap import CONFIDENCE, RESAMPLES, Resampling, interval
from ftx_plugins.evaluate.significance import compare_accuracy
from ftx_plugins.metrics.classification import f1_macro_from_counts
from ftx_plugins.metrics.counts import ClassCounts
from ftx_plugins.tasks.scoring import Scoring, scoring_of


def compare(a: LookedAt, b: LookedAt) -> dict[str, Any]:
    """The second model against the first: accuracy (of several labels a row all have to be right), macro F1, McNemar's
    test, and the verdict on the second.

    Raises `FtxError` where the two share no rows, or do not agree on what labels these have.
    """
    labels, logits, scorings = _shared(a, b)
    resampling = Resampling(len(labels), seed=0)
    right = [scoring.right(labels, each) for scoring, each in zip(scorings, logits, strict=True)]
    if right[0] is None or right[1] is None:
        raise FtxError(
            f"of a {scorings[0].task} no row is right or wrong, so that these tests say nothing of it",
            f"see its figures with their intervals: ftx show {a.reference}; ftx show {b.reference}",
        )
    found = compare_accuracy(right[0], right[1], resampling)
    accuracies = [float(each.mean()) for each in right if each is not None]
    features = [_features(scoring, labels, each) for scoring, each in zip(scorings, logits, strict=True)]
    return {
        "a": a.to_json(),
        "b": b.to_json(),
        "task": scorings[0].task,
        "split": a.split,
        "rows": len(labels),
        "bootstrap": {"confidence": CONFIDENCE, "resamples": RESAMPLES},
        "accuracy": {
            "a": accuracies[0],
            "b": accuracies[1],
            "difference": found.difference,
            "interval": found.interval,
        },
        "f1_macro": _f1(features, resampling),
        "mcnemar": asdict(found.test),
        "verdict": found.verdict,
        "rows_needed": found.rows_needed,
        "more_rows": None if found.rows_needed is None else found.rows_needed - len(labels),
        "detectable": found.detectable,
    }


def _shared(a: LookedAt, b: LookedAt) -> tuple[np.ndarray, list[np.ndarray], list[Scoring]]:
    """The labels of the rows that both looked at, the logits of each for them, and how each is scored."""
    kept = [_kept(each) for each in (a, b)]
    shared, *places = np.intersect1d(kept[0]["row"], kept[1]["row"], assume_unique=True, return_indices=True)
    hint = f"evaluate both on the same rows: ftx eval {a.reference}; ftx eval {b.reference}"
    if not len(shared):
        raise FtxError(f"{a.reference} and {b.reference} were evaluated on different rows, and share none", hint)
    logits = [each["logits"][place] for each, place in zip(kept, places, strict=True)]
    labels, others = (each["label"][place] for each, place in zip(kept, places, strict=True))
    facts = [each.evaluation.manifest.metrics for each in (a, b)]
    names = [each.get("labels") for each in facts]
    tasks = [each.get("task", TEXT_CLASSIFICATION) for each in facts]
    alike = tasks[0] == tasks[1] and names[0] == names[1] and logits[0].shape == logits[1].shape
    if not alike or labels.shape != others.shape or (labels != others).any():
        raise FtxError(f"{a.reference} and {b.reference} were evaluated with different labels for the same rows", hint)
    columns = [str(place) for place in range(logits[0].shape[1])]
    return labels, logits, [_scoring(each, tasks[0], names[0] or columns) for each in (a, b)]


def _kept(looked_at: LookedAt) -> dict[str, np.ndarray]:
    with np.load(looked_at.evaluation.path / "logits.npz", allow_pickle=False) as kept:
        return {"row": kept["row"], "label": kept["label"], "logits": kept[looked_at.model]}


def _scoring(looked_at: LookedAt, task: str, names: Sequence[str]) -> Scoring:
    metrics = looked_at.evaluation.manifest.metrics
    models: Sequence[Mapping[str, Any]] = metrics.get("models", ())
    model: Mapping[str, Any] = next((model for model in models if model_name(model) == looked_at.model), {})
    return scoring_of(task, names, thresholds=model.get("thresholds", ()), tolerance=metrics.get("tolerance"))


def _features(scoring: Scoring, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    features = scoring.features(labels, logits)
    assert features is not None  # what is right or wrong has classes
    return features


def _f1(features: Sequence[np.ndarray], resampling: Resampling) -> dict[str, Any]:
    values, resampled = [], []
    for each in features:
        whole = ClassCounts.of(each.sum(axis=0, dtype=float)[None])
        values.append(float(f1_macro_from_counts(whole, ())[0]))
        resampled.append(f1_macro_from_counts(ClassCounts.of(resampling.sums(each)), ()))
    difference = values[1] - values[0]
    return {"a": values[0], "b": values[1], "difference": difference, "interval": interval(resampled[1] - resampled[0])}
