"""A bundle to try: one predictor, kept loaded, one text at a time."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftx.artifacts import Bundle
from ftx.errors import FtxError
from ftx.plugins import PluginManager
from ftx.tasks import MULTI_LABEL, REGRESSION, TOKEN_CLASSIFICATION
from ftx_serving.predictor import Predictor

MOST_LABELS = 30
"""That are listed, the best first."""


@dataclass(frozen=True)
class Scored:
    """A label with its score, or an entity; `percent` is None for a number, which is no share of anything."""

    label: str
    score: str
    percent: float | None
    predicted: bool


@dataclass(frozen=True)
class Tried:
    """What a bundle says of a text, and what computed it."""

    scores: tuple[Scored, ...]
    more: int
    """Labels that are not listed."""
    variant: str
    runtime: str
    notes: tuple[str, ...] = ()
    """What was said while the bundle was loaded."""


class Tryout:
    """Keeps the predictor of the bundle and variant that were asked last."""

    def __init__(self, plugins: PluginManager) -> None:
        self._plugins = plugins
        self._lock = threading.Lock()
        self._loaded: tuple[str, str | None] | None = None
        self._predictor: Predictor | None = None
        self._notes: list[str] = []

    def predict(self, bundle: Bundle, text: str, pair: str | None, variant: str | None) -> Tried:
        """Raises `FtxError` where the bundle is damaged, cannot run here, or wants a pair of texts or none."""
        with self._lock:
            predictor = self._load(bundle, variant)
            if predictor.contract.pair and not pair:
                raise FtxError("this bundle classifies pairs of texts", "give the second text, too")
            pairs = [pair] if predictor.contract.pair and pair else None
            answers = predictor.predict([text], pairs)[0]
            runtime = predictor.executor.name if predictor.executor else predictor.variant.runtime
            scores = _scores(answers, predictor.contract.task)
            return Tried(
                scores[:MOST_LABELS],
                max(0, len(scores) - MOST_LABELS),
                predictor.variant.name,
                runtime,
                tuple(self._notes),
            )

    def _load(self, bundle: Bundle, variant: str | None) -> Predictor:
        wanted = (bundle.digest, variant)
        if self._predictor is None or self._loaded != wanted:
            # The memory of the one before is free before the next takes its own.
            self._predictor, self._loaded, self._notes = None, None, []
            runtimes = self._plugins.runtimes()
            self._predictor = Predictor.load(bundle.path, runtimes=runtimes, variant=variant, warn=self._notes.append)
            self._loaded = wanted
        return self._predictor


def _scores(answers: Sequence[Mapping[str, Any]], task: str) -> tuple[Scored, ...]:
    if task == REGRESSION:
        return tuple(Scored(str(each["label"]), f"{each['score']:.6g}", None, True) for each in answers)
    entities = task == TOKEN_CLASSIFICATION
    return tuple(
        Scored(
            f"{each['text']} {each['label']} [{each['start']}:{each['end']}]" if entities else str(each["label"]),
            f"{100 * each['score']:.1f}%",
            round(100 * each["score"], 1),
            bool(each["predicted"]) if task == MULTI_LABEL else entities or place == 0,
        )
        for place, each in enumerate(answers)
    )
