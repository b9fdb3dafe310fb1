"""From logits to what a model says, task by task: labels, a number, entities. NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ftx.tasks import MULTI_LABEL, REGRESSION, TEXT_CLASSIFICATION, TOKEN_CLASSIFICATION
from ftx_serving.tags import IGNORED, TagSet
from ftx_serving.words import Words

Answer = list[dict[str, Any]]
"""What one text is answered with."""
THRESHOLD = 0.5
"""The probability from which on a label is predicted, where none was chosen."""
TOLERANCE = 1e-3
"""By how much a regression's prediction may move and still count as the same, where nothing was chosen."""


class Decoder(Protocol):
    """How one task reads logits, float32 of shape (rows, outputs); of tokens, (rows, words, outputs)."""

    def decide(self, logits: np.ndarray) -> np.ndarray:
        """What is predicted, an entry (or a line of entries) a row: in a form that can be compared with `==`."""
        ...

    def changed(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Of two models' logits: the rows whose prediction is another, bool of shape (rows,)."""
        ...

    def answers(
        self,
        logits: np.ndarray,
        *,
        top_k: int | None = None,
        temperature: float = 1.0,
        words: Sequence[Words] | None = None,
    ) -> list[Answer]:
        """What a user gets. `words` are those of each row's text, where the logits are theirs."""
        ...

    def scores(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """What stands as the score of each output, float64 of the shape of the logits."""
        ...


@dataclass(frozen=True)
class SingleLabel:
    """Exactly one of the labels: the one with the highest logit."""

    labels: Sequence[str]

    def decide(self, logits: np.ndarray) -> np.ndarray:
        return np.asarray(logits.argmax(axis=1))

    def changed(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return np.asarray(self.decide(before) != self.decide(after))

    def answers(
        self,
        logits: np.ndarray,
        *,
        top_k: int | None = None,
        temperature: float = 1.0,
        words: Sequence[Words] | None = None,
    ) -> list[Answer]:
        """All labels with their scores, best first."""
        return [ranked(row, self.labels, top_k, temperature) for row in logits]

    def scores(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        return softmax(logits, temperature)


@dataclass(frozen=True)
class MultiLabel:
    """Each label whose probability, the logistic function of its logit, reaches its threshold; perhaps none."""

    labels: Sequence[str]
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

    def answers(
        self,
        logits: np.ndarray,
        *,
        top_k: int | None = None,
        temperature: float = 1.0,
        words: Sequence[Words] | None = None,
    ) -> list[Answer]:
        """All labels with their scores, best first; `predicted` says whether a label reaches its threshold."""
        chosen = self.decide(logits)
        scores = sigmoid(logits)
        order = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]
        return [
            [
                {
                    "label": self.labels[place],
                    "score": float(scores[row, place]),
                    "predicted": bool(chosen[row, place]),
                }
                for place in places
            ]
            for row, places in enumerate(order)
        ]

    def scores(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        return sigmoid(logits)


@dataclass(frozen=True)
class Number:
    """One number, in units of the target: the model's only output."""

    labels: Sequence[str]
    tolerance: float = TOLERANCE
    """By how much it may move and still count as the same."""

    def decide(self, logits: np.ndarray) -> np.ndarray:
        return np.asarray(logits[:, 0])

    def changed(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(before[:, 0] - after[:, 0]) > self.tolerance)

    def answers(
        self,
        logits: np.ndarray,
        *,
        top_k: int | None = None,
        temperature: float = 1.0,
        words: Sequence[Words] | None = None,
    ) -> list[Answer]:
        """The number, as the score of the only output."""
        return [[{"label": self.labels[0], "score": float(row[0])}] for row in logits]

    def scores(self, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        return logits.astype(np.float64)


@dataclass(frozen=True)
class Entities:
    """Spans of words, each of one type, as a tag for each word spells them.

    Rows of logits are padded with zeros behind their last word: where all logits of a word are equal, there is none.
    """

    labels: Sequence[str]
    """The tags."""

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


def abstentions(scores: np.ndarray, below: float | None) -> np.ndarray:
    """The texts of whose best label the score is below the bound; none where there is no bound. bool of shape (rows,).

    `scores` are probabilities of shape (rows, labels).
    """
    if below is None:
        return np.zeros(len(scores), dtype=bool)
    return np.asarray(scores.max(axis=1) < below)


def ranked(logits: np.ndarray, labels: Sequence[str], top_k: int | None = None, temperature: float = 1.0) -> Answer:
    """Labels with their softmax scores, best first; equal logits keep the order of the labels."""
    scores = softmax(logits, temperature)
    # By the logits: scores that are too small to tell apart would lose their order.
    order = np.argsort(-logits, kind="stable")[:top_k]
    return [{"label": labels[place], "score": float(scores[place])} for place in order]


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities of `logits / temperature` over the last axis, float64 of the same shape."""
    exponents = np.exp((logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)) / temperature)
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The logistic function, float64 of the same shape."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64))))
