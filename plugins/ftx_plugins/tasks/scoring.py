"""How good predictions are, task by task: figures, what counts as right, and what a changed row was and is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftx.tasks import MULTI_LABEL, REGRESSION, TASKS, TEXT_CLASSIFICATION, TOKEN_CLASSIFICATION
from ftx_plugins.metrics import classification, entities, multi_label, regression
from ftx_plugins.metrics.counts import count_features, hot_features
from ftx_serving.decoding import Decoder, Entities, MultiLabel, Number, SingleLabel, decoder_of, sigmoid, softmax
from ftx_serving.tags import IGNORED
from ftx_serving.words import Words

Labels = np.ndarray
"""As `SplitRows.labels` of the task: int64 (rows,), int64 (rows, labels), or float64 (rows,); of token classification
words' tags, int64 (rows, words), with `IGNORED` behind a row's last word (`tasks.alignment`)."""


class Scoring(ABC):
    """One task's figures. Labels and logits are in the order of `names`."""

    task: str
    share: str
    """The figure, up to 1, that takes the place of the accuracy."""
    calibrated = False
    """Whether scores are probabilities of one label being right, so that a calibration error can be told."""

    def __init__(self, names: Sequence[str], decoder: Decoder, words: Sequence[Words] = ()) -> None:
        """`words` are those of the rows' texts, where labels and logits are theirs."""
        self.names = tuple(names)
        self.decoder = decoder
        self.words = words

    @property
    def figures(self) -> tuple[str, ...]:
        """What `compute` gives, beside `per_class`."""
        return TASKS[self.task].figures

    @property
    def metric(self) -> str:
        """The task's own metric."""
        return TASKS[self.task].metric

    def compute(self, labels: Labels, logits: np.ndarray) -> dict[str, Any]:
        """The task's figures on `logits`, float32 of shape (rows, outputs)."""
        readable = self.readable(logits)
        return {name: compute(labels, readable, self.names) for name, compute in self._metrics().items()}

    def share_right(self, labels: Labels, logits: np.ndarray) -> float:
        """The figure `share`."""
        return float(self._metrics()[self.share](labels, self.readable(logits), self.names))

    @abstractmethod
    def _metrics(self) -> Mapping[str, Any]: ...

    def readable(self, logits: np.ndarray) -> np.ndarray:
        """The logits as `Metric.compute` takes them."""
        return logits

    @abstractmethod
    def features(self, labels: Labels, logits: np.ndarray) -> np.ndarray | None:
        """What each row adds to `ClassCounts`, float32 of shape (rows, 3 · classes); None where there are no
        classes."""

    @abstractmethod
    def right(self, labels: Labels, logits: np.ndarray) -> np.ndarray | None:
        """The rows that are wholly right, bool of shape (rows,); None where right and wrong are matters of degree."""

    @abstractmethod
    def said(self, logits: np.ndarray) -> list[str]:
        """What is predicted for each row, in words."""

    @abstractmethod
    def wanted(self, labels: Labels) -> list[str]:
        """What each row's target is, in the same words."""

    @abstractmethod
    def margins(self, logits: np.ndarray) -> np.ndarray:
        """How sure each row's prediction is, from 0 to 1, shape (rows,); NaN where that cannot be told."""

    @abstractmethod
    def divergence(self, expected: np.ndarray, logits: np.ndarray) -> float:
        """How far the predictions of `logits` are from those of `expected`: Kullback-Leibler divergence of what they
        mean, the mean over rows, in nats."""

    @abstractmethod
    def classes(self, labels: Labels) -> dict[str, np.ndarray]:
        """Label -> the rows that have it, bool of shape (rows,)."""


class SingleLabelScoring(Scoring):
    task = TEXT_CLASSIFICATION
    share = "accuracy"
    calibrated = True
    decoder: SingleLabel

    def _metrics(self) -> Mapping[str, Any]:
        return {name: getattr(classification, name) for name in (*self.figures, "per_class")}

    def features(self, labels: Labels, logits: np.ndarray) -> np.ndarray:
        return count_features(labels, logits.argmax(axis=1), len(self.names))

    def right(self, labels: Labels, logits: np.ndarray) -> np.ndarray:
        return np.asarray(logits.argmax(axis=1) == labels)

    def said(self, logits: np.ndarray) -> list[str]:
        return [self.names[place] for place in logits.argmax(axis=1)]

    def wanted(self, labels: Labels) -> list[str]:
        return [self.names[place] for place in labels]

    def margins(self, logits: np.ndarray) -> np.ndarray:
        """The probability of the best label less that of the next, at temperature 1: both sides are measured alike."""
        best = np.sort(softmax(logits), axis=1)
        return np.asarray(best[:, -1] - best[:, -2]) if best.shape[1] > 1 else np.ones(len(best))

    def divergence(self, expected: np.ndarray, logits: np.ndarray) -> float:
        before, after = log_softmax(expected), log_softmax(logits)
        return float((np.exp(before) * (before - after)).sum(axis=1).mean())

    def classes(self, labels: Labels) -> dict[str, np.ndarray]:
        return {name: labels == place for place, name in enumerate(self.names)}


class MultiLabelScoring(Scoring):
    task = MULTI_LABEL
    share = "f1_micro"
    decoder: MultiLabel

    def _metrics(self) -> Mapping[str, Any]:
        return {name: getattr(multi_label, name) for name in (*self.figures, "per_class")}

    def readable(self, logits: np.ndarray) -> np.ndarray:
        return self.decoder.shifted(logits)

    def features(self, labels: Labels, logits: np.ndarray) -> np.ndarray:
        return hot_features(labels, self.decoder.decide(logits))

    def right(self, labels: Labels, logits: np.ndarray) -> np.ndarray:
        return np.asarray((self.decoder.decide(logits) == labels).all(axis=1))

    def said(self, logits: np.ndarray) -> list[str]:
        return self.wanted(self.decoder.decide(logits))

    def wanted(self, labels: Labels) -> list[str]:
        return ["|".join(self.names[place] for place in np.flatnonzero(row)) for row in labels]

    def margins(self, logits: np.ndarray) -> np.ndarray:
        """The least distance of any label's probability from its threshold."""
        limits = np.asarray(self.decoder.thresholds or [0.5] * len(self.names))
        return np.asarray(np.abs(sigmoid(logits) - limits).min(axis=1))

    def divergence(self, expected: np.ndarray, logits: np.ndarray) -> float:
        """Of each label's own probability, summed over the labels."""
        before, after = expected.astype(np.float64), logits.astype(np.float64)
        share = sigmoid(before)
        yes = log_sigmoid(before) - log_sigmoid(after)
        no = log_sigmoid(-before) - log_sigmoid(-after)
        return float((share * yes + (1 - share) * no).sum(axis=1).mean())

    def classes(self, labels: Labels) -> dict[str, np.ndarray]:
        return {name: labels[:, place] == 1 for place, name in enumerate(self.names)}


class EntityScoring(Scoring):
    task = TOKEN_CLASSIFICATION
    share = "entity_f1"
    decoder: Entities

    def _metrics(self) -> Mapping[str, Any]:
        return {name: getattr(entities, name) for name in (*self.figures, "per_class")}

    def features(self, labels: Labels, logits: np.ndarray) -> np.ndarray:
        """The classes are the types of entities."""
        return entities.entity_features(labels, logits, self.names)

    def right(self, labels: Labels, logits: np.ndarray) -> np.ndarray:
        """Rows in which every entity is found, and no other."""
        return np.asarray((self.decoder.decide(logits) == self.decoder.tag_set.codes(labels)).all(axis=1))

    def said(self, logits: np.ndarray) -> list[str]:
        return self._in_words(self.decoder.decide(logits))

    def wanted(self, labels: Labels) -> list[str]:
        return self._in_words(self.decoder.tag_set.codes(labels))

    def margins(self, logits: np.ndarray) -> np.ndarray:
        """Of each row's least sure word: the probability of its best tag less that of the next; 1 without words."""
        best = np.sort(softmax(logits), axis=-1) if logits.size else np.ones((*logits.shape[:2], 2))
        apart = np.where(self.decoder.tags(logits) == IGNORED, 1.0, best[..., -1] - best[..., -2])
        return np.asarray(apart.min(axis=1, initial=1.0))

    def divergence(self, expected: np.ndarray, logits: np.ndarray) -> float:
        """The mean over words."""
        there = self.decoder.tags(expected) != IGNORED
        before, after = log_softmax(expected[there]), log_softmax(logits[there])
        return float((np.exp(before) * (before - after)).sum(axis=1).mean()) if there.any() else 0.0

    def classes(self, labels: Labels) -> dict[str, np.ndarray]:
        """Type -> rows with an entity of it."""
        codes = self.decoder.tag_set.codes(labels)
        return {name: (codes == 2 * kind + 1).any(axis=1) for kind, name in enumerate(self.decoder.tag_set.types)}

    def _in_words(self, codes: np.ndarray) -> list[str]:
        """Such as `PER: Anna Smith | LOC: Rome`; places among the words where the words are not known."""
        found: list[list[str]] = [[] for _ in range(len(codes))]
        spans = self.decoder.tag_set.spans(codes)
        for row, start, end, kind in zip(spans.row, spans.start, spans.end, spans.type, strict=True):
            shown = f"words {start} to {end - 1}"
            if self.words:
                text, places = self.words[row].text, self.words[row].spans
                shown = text[places[start, 0] : places[end - 1, 1]]
            found[row].append(f"{self.decoder.tag_set.types[kind]}: {shown}")
        return [" | ".join(row) for row in found]


class NumberScoring(Scoring):
    task = REGRESSION
    share = "pearson"
    decoder: Number

    def _metrics(self) -> Mapping[str, Any]:
        return {name: getattr(regression, name) for name in self.figures}

    def features(self, labels: Labels, logits: np.ndarray) -> None:
        return None

    def right(self, labels: Labels, logits: np.ndarray) -> None:
        return None

    def said(self, logits: np.ndarray) -> list[str]:
        return [f"{value:.6g}" for value in logits[:, 0]]

    def wanted(self, labels: Labels) -> list[str]:
        return [f"{value:.6g}" for value in labels]

    def margins(self, logits: np.ndarray) -> np.ndarray:
        return np.full(len(logits), np.nan)

    def divergence(self, expected: np.ndarray, logits: np.ndarray) -> float:
        """Of normal distributions about the numbers, as wide as the tolerance: squares of how many tolerances they are
        apart, halved."""
        apart = (expected.astype(np.float64) - logits) / (self.decoder.tolerance or 1.0)
        return float((apart**2).sum(axis=1).mean() / 2)

    def classes(self, labels: Labels) -> dict[str, np.ndarray]:
        return {}


SCORINGS: Mapping[str, type[Scoring]] = {
    scoring.task: scoring for scoring in (SingleLabelScoring, MultiLabelScoring, NumberScoring, EntityScoring)
}


def scoring_of(
    task: str,
    names: Sequence[str],
    *,
    thresholds: Sequence[float] = (),
    tolerance: float | None = None,
    words: Sequence[Words] = (),
) -> Scoring:
    """The figures of a task. `thresholds` (multi-label) are in the order of `names`; `words` (of tokens) are those of
    the rows' texts, to quote them."""
    return SCORINGS[task](names, decoder_of(task, names, thresholds=thresholds, tolerance=tolerance), words)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def log_sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(-np.logaddexp(0.0, -logits))
