"""The suites as plans: each is a generator of phases, which is told after each phase what that has measured.

A suite whose course depends on its results (the search for the capacity) is then written like one whose course does
not, and all of them run without a network, a clock or Locust in the tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ftx_loadtests.samples import Samples
from ftx_loadtests.saturation import START, Rung, capacity, next_rate, rung_seconds
from ftx_loadtests.settings import LoadSettings

WARM_UP = -1
"""The block of requests that belong to no measurement; so do all below it."""
SEARCHING = -2
BUCKETS = 4
SMOKE_TEXTS = 64
LONG_SHARE = 0.05
SOAK_SHARE, LOW_SHARE, HIGH_SHARE = 0.7, 0.3, 1.5
SEARCH_SECONDS = 5.0


@dataclass(frozen=True)
class Phase:
    """A stretch of a test with one intention. Rates are of all workers together."""

    block: int
    name: str
    seconds: float
    rate: float | None = None
    """Of an open loop; None is a closed one."""
    arrivals: str = "poisson"
    users: int = 1
    pacing: float = 0.0
    endpoint: int = 0
    seed: int = 0
    """Phases of the same seed have the same arrivals and the same texts."""
    texts: tuple[int, int] | None = None
    """The texts are those of this range of indices; None: all of them."""
    long_texts: tuple[int, int] | None = None
    """A share of the requests takes its texts from here."""
    requests: int | None = None
    """A closed loop ends after as many."""
    hostile: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Phase:
        ranges = {name: document[name] and tuple(document[name]) for name in ("texts", "long_texts")}
        return cls(**{**document, **ranges})

    @property
    def measured(self) -> bool:
        return self.block > WARM_UP


Scenario = Generator[Phase, Samples, None]


def play(settings: LoadSettings, texts: Sequence[str]) -> Scenario:
    """The phases of the suite that `settings` name. Send it the samples of each phase that it gives."""
    yield from _SCENARIOS[settings.suite](settings, texts)


def _smoke(settings: LoadSettings, texts: Sequence[str]) -> Scenario:
    some = (0, min(len(texts), SMOKE_TEXTS))
    for block, (name, users) in enumerate((("alone", 1), ("together", 4))):
        count = some[1] - some[0]
        yield Phase(block, name, settings.duration / 2, users=users, texts=some, requests=count)


def _rate(settings: LoadSettings, texts: Sequence[str]) -> Scenario:
    if settings.warmup:
        yield _main_phase(settings, WARM_UP, "warm-up", settings.warmup, seed=1)
    yield _main_phase(settings, 0, "rate", settings.duration)


def _main_phase(settings: LoadSettings, block: int, name: str, seconds: float, **more: Any) -> Phase:
    """At the rate that was asked for, or in the closed loop that was."""
    if settings.loop == "closed":
        return Phase(block, name, seconds, users=settings.users, pacing=settings.pacing, **more)
    return Phase(block, name, seconds, settings.rate, settings.arrivals, **more)


def _latency(settings: LoadSettings, texts: Sequence[str]) -> Scenario:
    """One stream, a phase for each quarter of the texts' lengths: `texts` come sorted by length."""
    bounds = [round(place * len(texts) / BUCKETS) for place in range(BUCKETS + 1)]
    buckets = [(low, high) for low, high in itertools.pairwise(bounds) if high > low]
    if settings.warmup:
        yield Phase(WARM_UP, "warm-up", settings.warmup, seed=1)
    for block, (low, high) in enumerate(buckets):
        name = f"{len(texts[low])} to {len(texts[high - 1])} characters"
        yield Phase(block, name, settings.duration / len(buckets), texts=(low, high))


def _search(settings: LoadSettings, least: float, block: Callable[[int], int]) -> Generator[Phase, Samples, list[Rung]]:
    """Rungs until the search is over."""
    assert settings.slo_p99_ms is not None
    history: list[Rung] = []
    slo, start = settings.slo_p99_ms / 1000, settings.rate or START
    while (rate := next_rate(history, slo, start=start, seed=settings.seed)) is not None:
        count = len(history)
        seconds = rung_seconds(rate, least)
        samples = yield Phase(block(count), f"{rate:.4g}/s", seconds, rate, settings.arrivals, seed=count)
        history.append(Rung(rate, samples.latency))
    return history


def _saturation(settings: LoadSettings, texts: Sequence[str]) -> Scenario:
    if settings.warmup:
        yield Phase(WARM_UP, "warm-up", settings.warmup, seed=1)
    yield from _search(settings, settings.duration, lambda count: count)


def _known_capacity(settings: LoadSettings) -> Generator[Phase, Samples, float]:
    """The capacity that was given, or one that is looked for first."""
    if settings.capacity is not None:
        return settings.capacity
    history = yield from _search(settings, SEARCH_SECONDS, lambda count: SEARCHING - count)
    assert settings.slo_p99_ms is not None
    return capacity(history, settings.slo_p99_ms / 1000, seed=settings.seed).rate or 0.0


def _soak(settings: LoadSettings, texts: Sequence[str]) -> Scenario:
    capacity = yield from _known_capacity(settings)
    if capacity:
        yield Phase(0, "soak", settings.duration, SOAK_SHARE * capacity, settings.arrivals)


def _spike(settings: LoadSettings, texts: Sequence[str]) -> Scenario:
    capacity = yield from _known_capacity(settings)
    if not capacity:
        return
    shares = (("before", LOW_SHARE, 0.25), ("spike", HIGH_SHARE, 0.25), ("after", LOW_SHARE, 0.5))
    for block, (name, share, part) in enumerate(shares):
        yield Phase(block, name, part * settings.duration, share * capacity, settings.arrivals, seed=block)


def _mixed(settings: LoadSettings, texts: Sequence[str]) -> Scenario:
    """The usual texts alone, and the same arrivals with long ones among them."""
    assert settings.long_from is not None
    usual, long = (0, settings.long_from), (settings.long_from, len(texts))
    if settings.warmup:
        yield _main_phase(settings, WARM_UP, "warm-up", settings.warmup, seed=1, texts=usual)
    yield _main_phase(settings, 0, "short", settings.duration / 2, texts=usual)
    yield _main_phase(settings, 1, "mixed", settings.duration / 2, texts=usual, long_texts=long)


def _chaos(settings: LoadSettings, texts: Sequence[str]) -> Scenario:
    if settings.warmup:
        yield _main_phase(settings, WARM_UP, "warm-up", settings.warmup, seed=1)
    yield _main_phase(settings, 0, "quiet", settings.duration / 2)
    yield _main_phase(settings, 1, "chaos", settings.duration / 2, hostile=True)


def _ab(settings: LoadSettings, texts: Sequence[str]) -> Scenario:
    """Blocks in an order of ABBA or BAAB, by lot: a drift of the machine then weighs on both alike.

    Two neighbouring blocks of the two endpoints have the same arrivals and the same texts.
    """
    seconds = settings.block_seconds or max(1.0, settings.duration / 40)
    quads = max(2, round(settings.duration / seconds / 4))
    lots = np.random.default_rng([settings.seed, 3]).integers(2, size=quads)
    order = [side for lot in lots.tolist() for side in ((0, 1, 1, 0) if lot else (1, 0, 0, 1))]
    if settings.warmup:
        for endpoint in (0, 1):
            yield _main_phase(settings, WARM_UP, "warm-up", settings.warmup, seed=1, endpoint=endpoint)
    for block, endpoint in enumerate(order):
        yield _main_phase(settings, block, f"{'AB'[endpoint]}", seconds, seed=2 + block // 2, endpoint=endpoint)


_SCENARIOS: Mapping[str, Callable[[LoadSettings, Sequence[str]], Scenario]] = {
    "smoke": _smoke,
    "rate": _rate,
    "latency": _latency,
    "saturation": _saturation,
    "soak": _soak,
    "spike": _spike,
    "mixed": _mixed,
    "chaos": _chaos,
    "ab": _ab,
}
