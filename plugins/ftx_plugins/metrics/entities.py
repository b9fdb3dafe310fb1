"""Metrics of token classification: of entities, which are right with the right type and both ends, and of words.

Each takes `labels`, int64 of shape (rows, words), places in `names` and `IGNORED` behind a row's last word, `logits`,
float32 of shape (rows, words, labels), zeros behind the last word, and `names`, the tags. Entities are those of
conlleval (Tjong Kim Sang and De Meulder 2003), as seqeval has them, which a test holds the figures against; here they
are made of counts of each row, which add up over the resamples of a bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftx_plugins.metrics import classification
from ftx_plugins.metrics.counts import ClassCounts
from ftx_serving.decoding import Entities
from ftx_serving.tags import IGNORED, TagSet, ends_of


def token_accuracy(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    """The share of words with the right tag."""
    there = labels != IGNORED
    return float((Entities(names).tags(logits) == labels)[there].mean()) if there.any() else 0.0


def entity_f1(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    """F1 of the entities of all types together."""
    return float(entity_f1_from_counts(_counts(labels, logits, names), names)[0])


def entity_precision(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    """The share of the entities found that are right."""
    return float(entity_precision_from_counts(_counts(labels, logits, names), names)[0])


def entity_recall(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> float:
    """The share of the entities there that are found."""
    return float(entity_recall_from_counts(_counts(labels, logits, names), names)[0])


def per_class(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Type -> `precision`, `recall`, `f1`, and `support`, the number of entities of that type."""
    counts = _counts(labels, logits, names)
    figures = per_class_from_counts(counts, names)
    return {
        name: {**{figure: float(value[0]) for figure, value in found.items()}, "support": int(counts.actual[0, place])}
        for place, (name, found) in enumerate(figures.items())
    }


def entity_f1_from_counts(counts: ClassCounts, names: Sequence[str]) -> np.ndarray:
    return classification.f1_micro_from_counts(counts, names)


def entity_precision_from_counts(counts: ClassCounts, names: Sequence[str]) -> np.ndarray:
    return _share(counts.right, counts.predicted)


def entity_recall_from_counts(counts: ClassCounts, names: Sequence[str]) -> np.ndarray:
    return _share(counts.right, counts.actual)


def per_class_from_counts(counts: ClassCounts, names: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """Type -> `precision`, `recall` and `f1`."""
    return classification.per_class_from_counts(counts, TagSet(tuple(names)).types)


def entity_features(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """What each row adds to the counts of `ClassCounts`, whose classes are the types: float32 of shape
    (rows, 3 · types)."""
    decoder = Entities(names)
    tag_set = decoder.tag_set
    actual, chosen = tag_set.codes(labels), decoder.decide(logits)
    # Both begin one of the same type here, and end at the same place.
    same = (actual == chosen) & (ends_of(actual) == ends_of(chosen))
    kinds = range(len(tag_set.types))
    counts = [
        np.stack([(codes == 2 * kind + 1).sum(axis=1) for kind in kinds], axis=1)
        for codes in (np.where(same, actual, 0), chosen, actual)
    ]
    return np.concatenate(counts, axis=1).astype(np.float32)


def _counts(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> ClassCounts:
    return ClassCounts.of(entity_features(labels, logits, names).sum(axis=0, dtype=np.float64)[None])


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Of all types together; 0 where there is nothing to divide by."""
    parts, wholes = part.sum(axis=1), whole.sum(axis=1)
    return np.asarray(np.divide(parts, wholes, out=np.zeros(len(parts)), where=wholes > 0))
