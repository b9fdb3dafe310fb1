"""Whether a loaded server still gives the answers of the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ftx_loadtests.measurement import Measurement
from ftx_loadtests.samples import Samples
from ftx_loadtests.statistics import Estimate, share_estimate

MOST_TEXTS = 20


@dataclass(frozen=True)
class Agreement:
    """Of the answers whose right label is known."""

    share: Estimate
    answers: int
    differing: int
    texts: tuple[int, ...]
    """Places in the payload of the texts that were answered otherwise, the most frequent first; not all of many."""

    def as_json(self) -> dict[str, Any]:
        return {
            "share": self.share.value,
            "interval": [self.share.low, self.share.high],
            "answers": self.answers,
            "differing": self.differing,
            "texts": list(self.texts),
        }


def unsteady(samples: Samples) -> tuple[int, ...]:
    """Places in the payload of the texts that got different labels in the same test."""
    rows = samples.ok & (samples.label >= 0)
    answers = np.unique(np.stack([samples.text[rows], samples.label[rows]], axis=1), axis=0)
    texts, counts = np.unique(answers[:, 0], return_counts=True)
    return tuple(int(text) for text in texts[counts > 1])


def agreement(measurement: Measurement) -> Agreement | None:
    """None where there is no reference, or no answer to a text that it knows.

    The interval is Wilson's: the same text answered twice is not two independent answers, so that it is too narrow
    where texts are repeated often.
    """
    reference, samples = measurement.reference_labels, measurement.samples
    if reference is None or not len(reference):
        return None
    places = {label: place for place, label in enumerate(samples.labels)}
    # A label that nobody answered has no place, and differs from every answer.
    right = np.array([-2 if label is None else places.get(label, -3) for label in reference])
    rows = samples.ok & (samples.label >= 0) & (samples.text >= 0) & (samples.text < len(right))
    rows[rows] = right[samples.text[rows]] != -2
    if not rows.any():
        return None
    texts = samples.text[rows]
    wrong = texts[samples.label[rows] != right[texts]]
    found, counts = np.unique(wrong, return_counts=True)
    frequent = found[np.argsort(-counts, kind="stable")][:MOST_TEXTS]
    total = int(rows.sum())
    return Agreement(share_estimate(total - len(wrong), total), total, len(wrong), tuple(map(int, frequent)))
