"""From logits to what a model says, task by task: labels, a number, entities. NumPy alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ftx.tasks import MULTI_LABEL, REGRESSION, TEXT_CLASSIFICATION, TOKEN_CLASSIFICATION
from ftx_serving.tags import IGNORED, TagSet
from ftx_serving.words import Words

Answer = list[dict[str, Any]]
"""What one text is answered with."""
Columns = Mapping[str, np.ndarray]
"""What is told of each output, by its key in an answer: values of the shape of the logits."""
THRESHOLD = 0.5
"""The probability from which on a label is predicted, where none was chosen."""
TOLERANCE = 1e-3
"""By how much a regression's prediction may move and still count as the same, where nothing was chosen."""


@dataclass(frozen=True)
class Decoder(ABC):
    """How one task reads logits, float32 of shape (rows, outputs); of tokens, (rows, words, outputs)."""

    labels: Sequence[str]
    """The names of the outputs, in their order."""

    @abstractmethod
    def decide(self, logits: np.ndarray) -> np.ndarray:
        """What is predicted, an entry (or a line of entries) a row: in a form that can be compared with `==`."""

    @abstractmethod
    def changed(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Of two models' logits: the rows whose prediction is another, bool of shape (rows,)."""

    @abstractmethod
    def scores(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """What stands as the score of each output, float64 of the shape of the logits."""

    def columns(self, logits: np.ndarray, scores: np.ndarray) -> Columns:
        """What a user gets of each output besides its label. `scores` are `self.scores` of the logits."""
        return {"score": scores}

    def answers(
        self,
        logits: np.ndarray,
        *,
        top_k: int | None = None,
        temperature: float = 1.0,
        words: Sequence[Words] | None = None,
    ) -> list[Answer]:
        """What a user gets: of each row the outputs, best first. `words` are those of each row's text, where the logits
        are theirs."""
        return best_first(logits, self.labels, self.columns(logits, self.scores(logits, temperature)), top_k)


class SingleLabel(Decoder):
    """Exactly one of the labels: the one with the highest logit."""

    def decide(self, logits: np.ndarray) -> np.ndarray:
        return np.asarray(logits.argmax(axis=1))

    def changed(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return np.asarray(self.decide(before) != self.decide(after))

    def scores(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        return softmax(logits, temperature)


@dataclass(frozen=True)
class MultiLabel(Decoder):
    """Each label whose probability, the logistic function of its logit, reaches its threshold; perhaps none."""

    thresholds: Sequence[float] = ()
    """A probability for each label, in their order; none: `THRESHOLD` for all."""

    def decide(self, logits: np.ndarray) -> np.ndarray:
        """bool of shape (rows, labels)."""
        return np.asarray(self.shifted(logits) >= 0)

    def changed(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return np.asarray((self.decide(before) != self.decide(after)).any(axis=1))

    def shifted(self, logits: np.ndarray) -> np.ndarray:
        """Logits less those of the thresholds: a label is predicted from 0 on."""
        limits = np.asarray(self.thresholds or [THRESHOLD] * len(self.labels), dtype=np.float64)
        return logits - np.log(limits / (1 - limits))

    def scores(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        return sigmoid(logits)

    def columns(self, logits: np.ndarray, scores: np.ndarray) -> Columns:
        """`predicted` says whether a label reaches its threshold."""
        return {"score": scores, "predicted": self.decide(logits)}


@dataclass(frozen=True)
class Number(Decoder):
    """One number, in units of the target: the model's only output, whose score it is."""

    tolerance: float = TOLERANCE
    """By how much it may move and still count as the same."""

    def decide(self, logits: np.ndarray) -> np.ndarray:
        return np.asarray(logits[:, 0])

    def changed(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(before[:, 0] - after[:, 0]) > self.tolerance)

    def scores(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        return logits.astype(np.float64)


class Entities(Decoder):
    """Spans of words, each of one type, as a tag for each word, its output's label, spells them.

    Rows of logits are padded with zeros behind their last word: where all logits of a word are equal, there is none.
    """

    @cached_property
    def tag_set(self) -> TagSet:
        return TagSet(tuple(self.labels))

    def tags(self, logits: np.ndarray) -> np.ndarray:
        """The best tag of each word, int64 of shape (rows, words); `IGNORED` where there is no word."""
        there = (logits != logits[..., :1]).any(axis=-1)
        return np.where(there, logits.argmax(axis=-1), IGNORED)

    def decide(self, logits: np.ndarray) -> np.ndarray:
        """int64 of shape (rows, words): `TagSet.codes`, which are equal where the entities are."""
        return self.tag_set.codes(self.tags(logits))

    def changed(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Rows with another set of entities."""
        return np.asarray((self.decide(before) != self.decide(after)).any(axis=1))

    def answers(
        self,
        logits: np.ndarray,
        *,
        top_k: int | None = None,
        temperature: float = 1.0,
        words: Sequence[Words] | None = None,
    ) -> list[Answer]:
        """The entities of each text in order of their beginnings: `label` (the type), `score` (the mean probability of
        its words' tags), `start` and `end` (in characters, the end exclusive), `text`. `top_k` keeps the surest."""
        if words is None:
            raise ValueError("entities have places in texts, and no words of texts were given")
        scores = self.scores(logits, temperature).max(axis=-1)
        spans = self.tag_set.spans(self.decide(logits))
        found: list[Answer] = [[] for _ in words]
        for row, first, last, kind in zip(spans.row, spans.start, spans.end, spans.type, strict=True):
            text = words[row]
            start, end = int(text.spans[first, 0]), int(text.spans[last - 1, 1])
            found[row].append(
                {
                    "label": self.tag_set.types[kind],
                    "score": float(scores[row, first:last].mean()),
                    "start": start,
                    "end": end,
                    "text": text.text[start:end],
                }
            )
        return [surest(answer, top_k) for answer in found]

    def scores(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        return softmax(logits, temperature) if logits.size else logits.astype(np.float64)


def surest(answer: Answer, top_k: int | None) -> Answer:
    """The entities with the highest scores, in the order of their beginnings."""
    best = sorted(answer, key=lambda entity: -entity["score"])[:top_k]
    return sorted(best, key=lambda entity: entity["start"])


def decoder_of(
    task: str, labels: Sequence[str], *, thresholds: Sequence[float] = (), tolerance: float | None = None
) -> Decoder:
    """The decoder of a task. `labels` are the names of the outputs, in the order of the logits."""
    if task == MULTI_LABEL:
        return MultiLabel(labels, tuple(thresholds))
    if task == REGRESSION:
        return Number(labels, TOLERANCE if tolerance is None else tolerance)
    if task == TEXT_CLASSIFICATION:
        return SingleLabel(labels)
    if task == TOKEN_CLASSIFICATION:
        return Entities(tuple(labels))
    raise ValueError(f"no decoder for the task {task}")


def flagged(answers: list[Answer], truncated: Sequence[bool], abstained: Sequence[bool]) -> list[Answer]:
    """The answers, each entry with `"truncated": true` where the text was cut, and with `"abstained": true` where the
    model would rather say nothing."""
    for answer, was_cut, abstains in zip(answers, truncated, abstained, strict=True):
        for entry in answer:
            if was_cut:
                entry["truncated"] = True
            if abstains:
                entry["abstained"] = True
    return answers


def abstentions(scores: np.ndarray, below: float) -> list[bool]:
    """Of each text, whether the score of its best label is below the bound. `scores` are probabilities of shape (rows,
    labels)."""
    found: list[bool] = (scores.max(axis=1) < below).tolist()
    return found


def best_first(logits: np.ndarray, labels: Sequence[str], columns: Columns, top_k: int | None = None) -> list[Answer]:
    """Of each row the labels with what the columns say of them; equal logits keep the order of the labels."""
    # By the logits: scores that are too small to tell apart would lose their order.
    order = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]
    keys = ("label", *columns)
    names = [[labels[place] for place in row] for row in order.tolist()]
    values = [np.take_along_axis(column, order, axis=1).tolist() for column in columns.values()]
    return [
        [dict(zip(keys, entry, strict=True)) for entry in zip(*row, strict=True)]
        for row in zip(names, *values, strict=True)
    ]


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities of `logits / temperature` over the last axis, float64 of the same shape."""
    exponents = np.exp((logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)) / temperature)
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The logistic function, float64 of the same shape."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64))))
