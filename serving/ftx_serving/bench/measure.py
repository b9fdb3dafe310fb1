"""A bundle's candidates raced on real texts, and what came out: figures with intervals, ratios, shares of the floor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftx.artifacts import Bundle
from ftx_serving.bench.candidates import Candidate, Skipped
from ftx_serving.bench.floor import Rates, measure_rates, share_of_floor
from ftx_serving.bench.race import Prefer, Terms, Texts, Times, race
from ftx_serving.bench.statistics import Interval, bootstrap, ratio

FLOOR_SHARE = 0.02
"""Share of the seconds that each rate of the machine is measured for."""


@dataclass(frozen=True)
class Measured:
    """One candidate's figures."""

    variant: str
    precision: str
    runtime: str
    threads: int
    size_mb: float
    """Megabytes of 10^6 bytes."""
    batch_invariant: bool
    p50_ms: Interval
    """Milliseconds of one text alone, tokenization included."""
    p95_ms: Interval
    rows_per_second: Interval
    """In batches of like lengths; each text alone where the variant is not batch-invariant."""
    score: float
    """The mean logarithm of what is preferred."""
    to_fastest: Interval
    """What is preferred, as a ratio to the fastest."""
    to_fp32: Interval | None
    """The same to the fastest fp32 candidate; None where none was measured."""
    share_of_floor: float | None
    rounds: int
    given_up: bool

    @property
    def name(self) -> str:
        return f"{self.variant} with {self.runtime}, {self.threads} thread{'s' if self.threads != 1 else ''}"

    def to_dict(self) -> dict[str, Any]:
        return {
            name: value.to_dict() if isinstance(value, Interval) else value
            for name, value in vars(self).items()
            if name != "score"
        }


@dataclass(frozen=True)
class Bench:
    """A measurement of one bundle on one machine; `measured` has the fastest first."""

    measured: list[Measured]
    skipped: list[Skipped]
    prefer: Prefer
    rates: Rates
    texts: int
    mean_tokens: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "prefer": self.prefer,
            "texts": self.texts,
            "mean_tokens": round(self.mean_tokens, 2),
            "rates": self.rates.to_dict(),
            "candidates": [found.to_dict() for found in self.measured],
            "skipped": [vars(each) for each in self.skipped],
        }


def measure(
    bundle: Bundle,
    candidates: Sequence[Candidate],
    skipped: Sequence[Skipped],
    texts: Texts,
    pairs: Texts | None,
    terms: Terms,
    progress: Callable[[float, float], None] = lambda done, total: None,
) -> Bench:
    """Race the candidates on `texts` (and their second texts), and put the figures together."""
    lengths = [len(encoding) for encoding in candidates[0].predictor.encoder.encode(texts, pairs)]
    times = race({each.name: each.classify for each in candidates}, texts, pairs, terms, progress)
    rates = measure_rates(FLOOR_SHARE * terms.seconds)
    scores = {name: found.scores(terms.prefer) for name, found in times.items()}
    fastest = scores[_best(candidates, scores)]
    of_fp32 = [each for each in candidates if each.variant.precision == "fp32"]
    fp32 = scores[_best(of_fp32, scores)] if of_fp32 else None
    operations = bundle.meta.get("operations")
    measured = [
        _describe(each, times[each.name], scores[each.name], fastest, fp32, lengths, operations, rates, terms)
        for each in candidates
    ]
    measured.sort(key=lambda found: -found.score)
    return Bench(measured, list(skipped), terms.prefer, rates, len(texts), float(np.mean(lengths)))


def _best(candidates: Sequence[Candidate], scores: Mapping[str, Sequence[float]]) -> str:
    return max((each.name for each in candidates), key=lambda name: float(np.mean(scores[name])))


def _describe(
    candidate: Candidate,
    times: Times,
    scores: Sequence[float],
    fastest: Sequence[float],
    fp32: Sequence[float] | None,
    lengths: Sequence[int],
    operations: Mapping[str, Any] | None,
    rates: Rates,
    terms: Terms,
) -> Measured:
    milliseconds = [seconds * 1000 for seconds in times.alone]
    rate = bootstrap([np.asarray([value]) for value in times.rates], lambda values: float(np.median(values)))
    variant = candidate.variant
    share = share_of_floor(rate.value, lengths, operations, variant.precision, rates)
    return Measured(
        variant=variant.name,
        precision=variant.precision,
        runtime=candidate.runtime,
        threads=candidate.threads,
        size_mb=variant.size_bytes / 1e6,
        batch_invariant=variant.batch_invariant,
        p50_ms=bootstrap(milliseconds, lambda values: float(np.quantile(values, 0.5)), seed=terms.seed),
        p95_ms=bootstrap(milliseconds, lambda values: float(np.quantile(values, 0.95)), seed=terms.seed),
        rows_per_second=rate,
        score=float(np.mean(scores)),
        to_fastest=ratio(scores, fastest),
        to_fp32=None if fp32 is None else ratio(scores, fp32),
        share_of_floor=None if share is None else float(f"{share:.4g}"),
        rounds=len(times.rates),
        given_up=times.given_up,
    )
