"""Whether the answer to a text depends on what it is sent with: other texts, padding, or the time of day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ftx_plugins.evaluate.candidates import Candidate, Model, Side, Texts
from ftx_serving.decoding import Decoder
from ftx_serving.words import join_rows

RANDOM_BATCHES = 3
"""How many times the texts are dealt into batches at random."""


@dataclass(frozen=True)
class Deviation:
    """Against each text alone and unpadded."""

    flips: int
    """Texts with another label."""
    spread: float
    """The largest difference of any logit."""


@dataclass(frozen=True)
class Invariance:
    """What was tried on `rows` texts."""

    rows: int
    padded_right: Deviation
    """Alone, padded to the longest of the texts."""
    padded_left: Deviation
    """The same on the other side. A model that counts positions from the first column (BERT) sees another text then:
    this is a fact about the model, and matters only where it is served so."""
    random_batches: tuple[Deviation, ...]
    repeated_spread: float
    """The largest difference of any logit between two calls with the same batch."""
    dependent: int
    """Texts whose label is another in one of the random batches, or alone with padding on the side that it is served
    with."""

    @property
    def batch_flip_rate(self) -> float:
        return self.dependent / self.rows

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure_invariance(
    candidate: Candidate, texts: Texts, pairs: Texts | None, *, batch_size: int, seed: int
) -> Invariance:
    """Each text alone, alone with padding on either side, and in three random batches, drawn with `seed`."""
    model = candidate.model
    longest = int(model.lengths(texts, pairs).max())
    alone = _each(model, texts, pairs, None)
    sides: tuple[Side, Side] = ("right", "left")
    padded = {side: _each(model, texts, pairs, side, longest) for side in sides}
    random = np.random.default_rng(seed)
    orders = [random.permutation(len(texts)) for _ in range(RANDOM_BATCHES)]
    dealt = [_in_batches(model, texts, pairs, order, batch_size) for order in orders]
    again = _in_batches(model, texts, pairs, orders[0], batch_size)
    served = [*dealt, padded[model.padding_side]]
    decoder = candidate.decoder
    changed = np.any([decoder.changed(alone, logits) for logits in served], axis=0)
    return Invariance(
        rows=len(texts),
        padded_right=_deviation(padded["right"], alone, decoder),
        padded_left=_deviation(padded["left"], alone, decoder),
        random_batches=tuple(_deviation(logits, alone, decoder) for logits in dealt),
        repeated_spread=_spread(dealt[0], again),
        dependent=int(changed.sum()),
    )


def _each(model: Model, texts: Texts, pairs: Texts | None, side: Side | None, length: int | None = None) -> np.ndarray:
    """Logits of each text by itself, padded on `side` to `length` tokens."""
    return join_rows(
        [
            model.one_batch([text], _chosen(pairs, [row]), side or model.padding_side, length)
            for row, text in enumerate(texts)
        ]
    )


def _in_batches(model: Model, texts: Texts, pairs: Texts | None, order: np.ndarray, batch_size: int) -> np.ndarray:
    """Logits, in the order of `texts`, of batches taken in the order `order`."""
    parts = []
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size].tolist()
        parts.append(model.one_batch([texts[row] for row in rows], _chosen(pairs, rows), model.padding_side))
    logits = join_rows(parts)
    unordered = np.empty_like(logits)
    unordered[order] = logits
    return unordered


def _chosen(pairs: Texts | None, rows: Sequence[int]) -> Texts | None:
    return None if pairs is None else [pairs[row] for row in rows]


def _deviation(logits: np.ndarray, alone: np.ndarray, decoder: Decoder) -> Deviation:
    return Deviation(int(decoder.changed(alone, logits).sum()), _spread(logits, alone))


def _spread(logits: np.ndarray, others: np.ndarray) -> float:
    return float(np.abs(logits - others).max())
