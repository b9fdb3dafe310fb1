"""Rows that a recipe is calibrated on, chosen by and held against, and a model's logits on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx.step import Context
from ftx.tasks import TOKEN_CLASSIFICATION
from ftx_plugins.checkpoint import batches_of_like_length
from ftx_plugins.data.splits import SplitRows, load_rows, load_split
from ftx_plugins.quantize.calibration_file import read_texts
from ftx_plugins.quantize.config import StaticConfig
from ftx_plugins.tasks.alignment import aligner_of
from ftx_plugins.tasks.encoding import in_order_of_head
from ftx_plugins.tasks.scoring import Scoring, scoring_of
from ftx_serving.encoder import Feed, TextEncoder
from ftx_serving.runtimes import Session
from ftx_serving.words import Words, at_words, widen, words_of_each

BATCH = 32


@dataclass(frozen=True)
class Sample:
    """Encoded rows, and their labels as `SplitRows` has them, in the order of the model's."""

    encoder: TextEncoder
    encodings: Sequence[Any]
    labels: np.ndarray
    scoring: Scoring
    """In the order of the model's labels."""
    words: Sequence[Words] = ()
    """Of a model of tokens: those of each row; its labels are these words' tags."""

    def __len__(self) -> int:
        return len(self.encodings)

    def first(self, count: int) -> Sample:
        return self.part(slice(count))

    def part(self, rows: slice) -> Sample:
        return replace(self, encodings=self.encodings[rows], labels=self.labels[rows], words=self.words[rows])

    def feeds(self) -> list[Feed]:
        """Batches of rows of one length each: nothing is padded."""
        by_length: dict[int, list[Any]] = {}
        for encoding in self.encodings:
            by_length.setdefault(len(encoding), []).append(encoding)
        return [
            self.encoder.feed(rows[start : start + BATCH])
            for _, rows in sorted(by_length.items())
            for start in range(0, len(rows), BATCH)
        ]

    def logits(self, session: Session) -> np.ndarray:
        """Logits, float32 of shape (rows, classes), or (rows, words, labels), in batches of like length."""
        shape = (len(self), *self.labels.shape[1:]) if self.words else (len(self),)
        found = np.zeros((*shape, len(self.encoder.contract.labels)), np.float32)
        for rows in batches_of_like_length([len(encoding) for encoding in self.encodings], BATCH):
            encodings = [self.encodings[row] for row in rows]
            logits = session(**self.encoder.feed(encodings))
            if self.words:
                left = self.encoder.contract.padding_side == "left"
                lengths = [len(encoding) for encoding in encodings]
                logits = widen(at_words(logits, lengths, [self.words[row] for row in rows], left=left), found.shape[1])
            found[rows] = logits
        return found

    def divergence(self, expected: np.ndarray, session: Session) -> float:
        """How far what the session predicts is from what the logits `expected` do, in nats: 0 if they say the same."""
        return self.scoring.divergence(expected, self.logits(session))


@dataclass(frozen=True)
class Samples:
    """Three samples that share no row."""

    calibration: Sample
    """Of the training split, stratified, or of the file to calibrate on; in random order: its first rows are fair."""
    choice: Sample
    """Of the validation split."""
    held_out: Sample
    """Of the validation split; may be empty."""


def read_samples(
    data: Artifact, encoder: TextEncoder, context: Context, config: StaticConfig, *, held_out: int = 0
) -> Samples:
    """As many rows of each as `config` says, drawn by the context's seed; fewer, with a warning, where there are fewer.

    The choice takes at most half of the validation split where rows are to be held out too. Raises `FtxError` where
    there are no rows, or labels that the model does not have, and where a calibration file cannot be used.
    """
    choice = config.choice_rows
    train = _calibration_rows(data, config, context)
    validation = _read(data, "validation", choice + held_out, context.seed)
    count = len(validation.texts)
    first = max(1, min(choice, count // 2)) if held_out else choice
    if count < choice + held_out:
        rest = f" and {count - first} to hold the recipe against" if held_out else ""
        context.warn(f"the validation split has {count} rows: {min(first, count)} to choose by{rest}")
    everything = [_encode(rows, encoder, data, context.seed) for rows in (train, validation)]
    chosen = everything[1].first(first)
    return Samples(everything[0], chosen, everything[1].part(slice(first, None)))


def _calibration_rows(data: Artifact, config: StaticConfig, context: Context) -> SplitRows:
    """Of the calibration file, where there is one; nobody asks for the labels of these."""
    count = config.calibration_rows
    if config.calibration_data is None:
        train = _read(data, "train", count, context.seed)
        if len(train.texts) < count:
            context.warn(f"the training split has {len(train.texts)} rows, and all of them calibrate, not {count}")
        return train
    texts, pairs = read_texts(config, pairs="text_pair" in load_split(data, "train").column_names)
    chosen = np.sort(np.random.default_rng(context.seed).choice(len(texts), count, replace=False))
    return SplitRows(
        [texts[row] for row in chosen],
        None if pairs is None else [pairs[row] for row in chosen],
        np.zeros(count, np.int64),
        chosen,
    )


def _read(data: Artifact, split: str, count: int, seed: int) -> SplitRows:
    rows = load_rows(data, split, max_rows=count, seed=seed)
    if not rows.texts:
        raise FtxError(
            f"the data set has no {split} rows, and a static recipe is made of them",
            "see what became of them: ftx show latest:data",
            "or quantize without data: ftx run quantize:dynamic",
        )
    return rows


def _encode(rows: SplitRows, encoder: TextEncoder, data: Artifact, seed: int) -> Sample:
    contract, names = encoder.contract, data.meta.get("labels", ())
    labels = contract.labels
    if unknown := sorted(set(names) - set(labels)):
        raise FtxError(
            f"the model does not know the label {unknown[0]} of the data; it has: {', '.join(labels)}",
            "quantize with the data that the model was trained on",
        )
    order = np.random.default_rng(seed).permutation(len(rows.texts))
    pairs = None if rows.pairs is None else [rows.pairs[place] for place in order]
    places = np.array([labels.index(name) for name in names], np.int64)
    scoring = scoring_of(contract.task, labels, thresholds=contract.thresholds, tolerance=contract.tolerance)
    texts, own = [rows.texts[place] for place in order], rows.labels[order]
    encodings = encoder.encode(texts, pairs)
    words: list[Words] = []
    if contract.task == TOKEN_CLASSIFICATION:
        words = words_of_each(encodings, texts)
        # The texts of a calibration file have no entities that anybody knows of.
        entities = own.tolist() if own.dtype == object else [()] * len(words)
        own = aligner_of(names, names).rows(entities, words)
    own = in_order_of_head(own, contract.task, places, len(labels))
    return Sample(encoder, encodings, own, scoring, words)
