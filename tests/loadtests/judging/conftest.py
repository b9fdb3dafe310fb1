"""Samples of servers that are simulated, so that the truth is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ftx_loadtests.samples import COLUMNS, Samples

Queue = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def md1() -> Queue:
    """`md1(random, rate, seconds, service)`: latencies of a server that takes `service` seconds for each of Poisson
    arrivals, one at a time."""

    def latencies(random: np.random.Generator, rate: float, seconds: float, service: float) -> np.ndarray:
        gaps = random.exponential(1.0 / rate, size=max(1, random.poisson(rate * seconds)))
        # Lindley: the wait is how far the walk of (service - gap) is above its lowest point so far.
        walk = np.concatenate([[0.0], np.cumsum(service - gaps[1:])])
        return walk - np.minimum.accumulate(walk) + service

    return latencies


@pytest.fixture(scope="session")
def sampled() -> Callable[..., Samples]:
    """`sampled(scheduled, latencies, **columns)`: rows that left in time and were answered with status 200."""

    def build(scheduled: Any, latencies: Any, labels: tuple[str, ...] = (), **columns: Any) -> Samples:
        scheduled = np.asarray(scheduled, dtype=np.float64)
        count = len(scheduled)
        unknown = {name: np.nan if kind.startswith("f") else -1 for name, kind in COLUMNS.items()}
        given = {
            **unknown,
            "scheduled": scheduled,
            "sent": scheduled,
            "ended": scheduled + np.asarray(latencies, dtype=np.float64),
            "status": 200,
            "failure": 0,
            "text": np.arange(count),
            "endpoint": 0,
            "block": 0,
            "worker": 0,
            **columns,
        }
        arrays = {
            name: np.broadcast_to(np.asarray(given[name]), (count,)).astype(kind) for name, kind in COLUMNS.items()
        }
        return Samples(**arrays, labels=labels)

    return build
