"""Where the time went: the server's own stages, the network, and the client's lag."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftx_loadtests.samples import Samples
from ftx_loadtests.statistics import fewest_samples, quantile

SERVER = ("queue", "tokenize", "batch", "compute")
STAGES = ("lag", *SERVER, "network")
SLOWEST = 0.01
BUCKETS = (8, 16, 32, 64, 128, 256, 512, 1024)
"""Upper ends of ranges of tokens."""


@dataclass(frozen=True)
class Breakdown:
    """Milliseconds by stage, of the answered requests whose stages are known.

    `lag` is the client's own; `network` is what is left of the service time: the way there and back, the server's HTTP,
    and everything that it does not count.
    """

    requests: int
    mean: Mapping[str, float]
    slowest: Mapping[str, float]
    """The means of the slowest 1%."""
    excess: Mapping[str, float]
    """How much of what the slowest 1% took longer than the mean was spent in each stage, as shares of the whole."""

    @property
    def shares(self) -> dict[str, float]:
        total = sum(self.mean.values())
        return {stage: value / total if total > 0 else 0.0 for stage, value in self.mean.items()}

    @property
    def culprit(self) -> str | None:
        """The stage that the slowest 1% spent most of their excess in."""
        return max(self.excess, key=lambda stage: self.excess[stage]) if self.excess else None

    def as_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "mean_ms": dict(self.mean),
            "shares": self.shares,
            "slowest_1pct_ms": dict(self.slowest),
            "slowest_1pct_excess": dict(self.excess),
            "slowest_1pct_culprit": self.culprit,
        }


@dataclass(frozen=True)
class LengthBucket:
    """Requests of texts of `first` to `last` tokens. A quantile is None where there are too few."""

    first: int
    last: int
    requests: int
    p50_ms: float | None
    p95_ms: float | None


def breakdown(samples: Samples) -> Breakdown | None:
    """None where the server names no stage (no `Server-Timing`). A stage that it does not name is left out."""
    known = [stage for stage in SERVER if np.isfinite(getattr(samples, stage)).any()]
    rows = samples.ok.copy()
    for stage in known:
        rows &= np.isfinite(getattr(samples, stage))
    if not known or not rows.any():
        return None
    chosen = samples.select(rows)
    spent = {"lag": chosen.lag * 1000.0, **{stage: getattr(chosen, stage).astype(np.float64) for stage in known}}
    inside = np.sum([spent[stage] for stage in known], axis=0)
    # Clocks of two machines agree on durations, not to the microsecond.
    spent["network"] = np.maximum(0.0, chosen.service * 1000.0 - inside)
    slow = chosen.latency >= quantile(chosen.latency, 1.0 - SLOWEST)
    stages = [stage for stage in STAGES if stage in spent]
    mean = {stage: float(spent[stage].mean()) for stage in stages}
    slowest = {stage: float(spent[stage][slow].mean()) for stage in stages}
    return Breakdown(len(chosen), mean, slowest, _excess(mean, slowest))


def by_length(samples: Samples) -> list[LengthBucket]:
    """Latency against the texts' tokens; empty where the server does not tell them. Failures are left out."""
    ok = samples.ok & (samples.tokens >= 0)
    tokens, latency = samples.tokens[ok], samples.latency[ok] * 1000.0
    edges = [0, *BUCKETS, max(int(tokens.max(initial=0)), BUCKETS[-1] + 1)]
    found = []
    for below, last in itertools.pairwise(edges):
        values = latency[(tokens > below) & (tokens <= last)] if below else latency[tokens <= last]
        if len(values):
            found.append(
                LengthBucket(below + 1 if below else 0, last, len(values), _told(values, 0.5), _told(values, 0.95))
            )
    return found


def padding_share(samples: Samples) -> float | None:
    """The share of computed tokens that were padding; None where the server tells neither of the two numbers.

    Every request of a batch tells of the whole batch, so that each counts for its part of it. Where a server gives no
    number of real tokens in the batch, those of the batch's requests add up to it.
    """
    rows = samples.ok & (samples.padded_tokens > 0) & (samples.batch_size > 0)
    rows &= (samples.batch_tokens > 0) | (samples.tokens > 0)
    if not rows.any():
        return None
    size = samples.batch_size[rows].astype(np.float64)
    padded: NDArray[np.float64] = samples.padded_tokens[rows] / size
    told = samples.batch_tokens[rows] > 0
    real = np.where(told, samples.batch_tokens[rows] / size, samples.tokens[rows])
    return float(max(0.0, 1.0 - real.sum() / padded.sum()))


def _told(values: np.ndarray, q: float) -> float | None:
    return quantile(values, q) if len(values) >= fewest_samples(q) else None


def _excess(mean: Mapping[str, float], slowest: Mapping[str, float]) -> dict[str, float]:
    more = {stage: max(0.0, slowest[stage] - mean[stage]) for stage in mean}
    total = sum(more.values())
    return {stage: value / total for stage, value in more.items()} if total > 0 else {}
