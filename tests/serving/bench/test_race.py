"""Turns, and when an entrant is given up."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest

from ftx_serving.bench.race import FEWEST_ROUNDS, LAST_ROUNDS, Call, Terms, race
from ftx_serving.bench.turns import abba, window

TEXTS = [f"text {number}" for number in range(10)]


class Entrant:
    """Takes so many seconds for each text, and keeps what it was given."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.seen: list[tuple[str, ...]] = []
        self.pairs: list[tuple[str, ...] | None] = []

    def __call__(self, texts: Sequence[str], pairs: Sequence[str] | None, batch_size: int) -> None:
        self.seen.append(tuple(texts))
        self.pairs.append(None if pairs is None else tuple(pairs))
        if self.seconds:
            time.sleep(self.seconds * len(texts))


def test_a_linear_drift_within_a_round_cancels() -> None:
    for number in (0, 1):
        turns = abba(["a", "b", "c"], number)
        places = {name: np.mean([place for place, other in enumerate(turns) if other == name]) for name in "abc"}
        assert set(places.values()) == {2.5}
    assert abba(["a", "b"], 0) == ["a", "b", "b", "a"]
    assert abba(["a", "b"], 1) == ["b", "a", "a", "b"]


def test_rounds_go_through_all_texts_and_begin_again() -> None:
    order = np.array([3, 1, 0, 2])
    assert [window(order, number, 3).tolist() for number in range(3)] == [[3, 1, 0], [2, 3, 1], [0, 2, 3]]


def test_everyone_gets_the_same_texts_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    # What takes no time differs by the machine's noise alone, which may look like a clear difference.
    monkeypatch.setattr("ftx_serving.bench.race._give_up", lambda times, prefer: None)
    first, second = Entrant(), Entrant()
    entrants: dict[str, Call] = {"first": first, "second": second}
    race(entrants, TEXTS, TEXTS, Terms(seconds=0.01, batch_size=4))
    assert sorted(first.seen) == sorted(second.seen)
    assert first.seen == first.pairs
    assert {text for seen in first.seen for text in seen} == set(TEXTS)


def test_one_that_is_clearly_slower_is_given_up_and_the_others_go_on() -> None:
    times = race(
        {"fast": Entrant(0.0002), "slow": Entrant(0.002), "also fast": Entrant(0.0002)},
        TEXTS,
        None,
        Terms(seconds=0.5, batch_size=4),
    )
    assert times["slow"].given_up
    assert not times["fast"].given_up or not times["also fast"].given_up
    assert len(times["slow"].rates) >= FEWEST_ROUNDS
    assert max(len(found.rates) for found in times.values()) > len(times["slow"].rates)


def test_one_that_is_left_alone_stops_when_its_own_figures_are_there() -> None:
    started = time.perf_counter()
    times = race({"alone": Entrant(0.0001)}, TEXTS, None, Terms(seconds=60, batch_size=4))
    assert time.perf_counter() - started < 10
    assert len(times["alone"].rates) == LAST_ROUNDS


def test_what_is_preferred_decides_the_order() -> None:
    class OneByOne(Entrant):
        """Quick with one text, slow with many."""

        def __call__(self, texts: Sequence[str], pairs: Sequence[str] | None, batch_size: int) -> None:
            time.sleep(0.001 if len(texts) == 1 else 0.004 * len(texts))

    class InBatches(Entrant):
        """The other way round."""

        def __call__(self, texts: Sequence[str], pairs: Sequence[str] | None, batch_size: int) -> None:
            time.sleep(0.01)

    times = race({"one": OneByOne(), "batch": InBatches()}, TEXTS, None, Terms(seconds=0.01, batch_size=32))
    assert np.mean(times["one"].scores("latency")) > np.mean(times["batch"].scores("latency"))
    assert np.mean(times["one"].scores("throughput")) < np.mean(times["batch"].scores("throughput"))
    balanced = [
        (one + other) / 2
        for one, other in zip(times["one"].scores("latency"), times["one"].scores("throughput"), strict=True)
    ]
    assert times["one"].scores("balanced") == pytest.approx(balanced)
