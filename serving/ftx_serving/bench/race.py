"""The measurement: entrants take turns on the same texts, and one that is clearly slower is given up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from ftx_serving.bench.statistics import ratio
from ftx_serving.bench.turns import abba, window

Texts = Sequence[str]
Call = Callable[[Texts, Texts | None, int], object]
"""Classifies (texts, second texts, batch size), tokenization included."""
Prefer = Literal["throughput", "latency", "balanced"]
"""Rows a second in batches; milliseconds of one text alone; the geometric mean of both."""
PREFERENCES: tuple[Prefer, ...] = get_args(Prefer)

FEWEST_ROUNDS = 3
"""Nobody is given up before: a spread needs more than two."""
LAST_ROUNDS = 5
"""When one alone is left it has at least so many, for the sake of its own figures."""
WANTED_ROUNDS = 8
ALONE = 16
"""Texts that a turn sends alone, at most."""
BATCHES = 4
"""Batches of a turn, at most."""


@dataclass(frozen=True)
class Terms:
    """How a race is run."""

    seconds: float
    """What it may take, warm-up apart; exceeded where the fewest rounds take longer."""
    prefer: Prefer = "throughput"
    batch_size: int = 32
    seed: int = 0


@dataclass
class Times:
    """What an entrant's rounds took."""

    alone: list[np.ndarray] = field(default_factory=list)
    """For each round the seconds of each text alone, shape (2 · texts,)."""
    rates: list[float] = field(default_factory=list)
    """For each round the rows a second in batches."""
    given_up: bool = False
    """Whether it was clearly slower than another, and stopped before the end."""

    def scores(self, prefer: Prefer) -> list[float]:
        """For each round the logarithm of what is preferred; more is faster."""
        latency = [-math.log(float(np.median(seconds))) for seconds in self.alone]
        rate = [math.log(value) for value in self.rates]
        if prefer == "balanced":
            return [(one + other) / 2 for one, other in zip(latency, rate, strict=True)]
        return rate if prefer == "throughput" else latency


def race(
    entrants: Mapping[str, Call],
    texts: Texts,
    pairs: Texts | None,
    terms: Terms,
    progress: Callable[[float, float], None] = lambda done, total: None,
) -> dict[str, Times]:
    """The times of each entrant. `progress` is told seconds done, and seconds in all."""
    order = np.random.default_rng(terms.seed).permutation(len(texts))
    alone, batched = _sizes(entrants, texts, pairs, terms, order)
    times = {name: Times() for name in entrants}
    started = time.perf_counter()
    number = 0
    while True:
        running = [name for name in entrants if not times[name].given_up]
        rows = (window(order, number, alone), window(order, number, batched))
        _round(running, entrants, times, number, [_taken(texts, pairs, chosen) for chosen in rows], terms)
        number += 1
        if number >= FEWEST_ROUNDS:
            _give_up(times, terms.prefer)
        spent = time.perf_counter() - started
        progress(min(spent, terms.seconds), terms.seconds)
        left = sum(not found.given_up for found in times.values())
        if number >= FEWEST_ROUNDS and (spent >= terms.seconds or (left == 1 and number >= LAST_ROUNDS)):
            return times


def _round(
    running: Sequence[str],
    entrants: Mapping[str, Call],
    times: Mapping[str, Times],
    number: int,
    chosen: Sequence[tuple[Texts, Texts | None]],
    terms: Terms,
) -> None:
    (single, single_pairs), (many, many_pairs) = chosen
    alone: dict[str, list[float]] = {name: [] for name in running}
    seconds = dict.fromkeys(running, 0.0)
    for name in abba(running, number):
        call = entrants[name]
        for place, text in enumerate(single):
            alone[name].append(_clock(call, [text], single_pairs and [single_pairs[place]], 1))
        seconds[name] += _clock(call, many, many_pairs, terms.batch_size)
    for name in running:
        times[name].alone.append(np.asarray(alone[name]))
        times[name].rates.append(2 * len(many) / seconds[name])


def _give_up(times: Mapping[str, Times], prefer: Prefer) -> None:
    """Stop those whose ratio to the leader is below 1 with 99% confidence (less, since it is tried each round)."""
    scores = {name: found.scores(prefer) for name, found in times.items() if not found.given_up}
    leader = max(scores, key=lambda name: float(np.mean(scores[name])))
    for name, own in scores.items():
        if name != leader and ratio(own, scores[leader], sure=True).high < 1:
            times[name].given_up = True


def _sizes(
    entrants: Mapping[str, Call], texts: Texts, pairs: Texts | None, terms: Terms, order: np.ndarray
) -> tuple[int, int]:
    """Warm everyone up; then how many texts alone and in batches a turn has, for rounds enough in the time given."""
    estimate = 0.0
    for call in entrants.values():
        for count, batch_size, turns in ((1, 1, ALONE), (terms.batch_size, terms.batch_size, BATCHES)):
            several, second = _taken(texts, pairs, window(order, 0, count))
            _clock(call, several, second, batch_size)
            estimate += turns * _clock(call, several, second, batch_size)
    share = min(1.0, terms.seconds / (WANTED_ROUNDS * 2 * estimate))
    return max(4, round(ALONE * share)), terms.batch_size * max(1, round(BATCHES * share))


def _clock(call: Call, texts: Texts, pairs: Texts | None, batch_size: int) -> float:
    started = time.perf_counter()
    call(texts, pairs, batch_size)
    return time.perf_counter() - started


def _taken(texts: Texts, pairs: Texts | None, rows: np.ndarray) -> tuple[Texts, Texts | None]:
    return [texts[row] for row in rows], None if pairs is None else [pairs[row] for row in rows]
