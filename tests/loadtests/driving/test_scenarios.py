"""The suites' plans, played without a network: the samples that they are told are made up here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from ftx_loadtests.samples import COLUMNS, ROW, Failure, Samples, concatenate
from ftx_loadtests.scenarios import Phase, play
from ftx_loadtests.settings import SUITES, LoadSettings

TEXTS = [f"text {'x' * number}" for number in range(40)]
Answer = Callable[[Phase], Samples]


def samples(latency: float, count: int = 600, *, failed: bool = False) -> Samples:
    rows = np.zeros(count, dtype=ROW)
    rows["scheduled"] = np.linspace(0, 10, count)
    rows["sent"] = rows["scheduled"]
    rows["ended"] = rows["scheduled"] + latency
    rows["failure"] = Failure.STATUS if failed else Failure.NONE
    return Samples.from_rows(rows)


def played(suite: str, answer: Answer = lambda phase: samples(0.001), **settings) -> list[Phase]:
    scenario = play(LoadSettings(suite, "http://h", **settings), TEXTS)
    phases = [next(scenario)]
    while True:
        try:
            phases.append(scenario.send(answer(phases[-1])))
        except StopIteration:
            return phases


def limited_to(capacity: float) -> Answer:
    return lambda phase: samples(0.01 if (phase.rate or 0) <= capacity else 1.0)


SETTINGS = {
    "saturation": {"slo_p99_ms": 100, "duration": 1.0},
    "soak": {"capacity": 10.0},
    "spike": {"capacity": 10.0},
    "mixed": {"rate": 5.0, "long_from": 30},
    "rate": {"rate": 5.0},
    "chaos": {"rate": 5.0},
    "ab": {"rate": 5.0, "against": "http://g"},
}


@pytest.mark.parametrize("suite", SUITES)
def test_measured_phases_are_numbered_in_their_order_and_travel_as_json(suite):
    answer = limited_to(50) if suite == "saturation" else lambda phase: samples(0.001)
    phases = played(suite, answer, **SETTINGS.get(suite, {}))
    measured = [phase for phase in phases if phase.measured]
    assert [phase.block for phase in measured] == list(range(len(measured)))
    assert all(Phase.from_json(phase.as_json()) == phase for phase in phases)


def test_a_warm_up_comes_first_and_is_not_measured():
    warm, rate = played("rate", rate=5.0, warmup=3.0, duration=20.0)
    assert (warm.seconds, warm.measured) == (3.0, False)
    assert (rate.seconds, rate.measured, rate.rate) == (20.0, True, 5.0)
    assert warm.seed != rate.seed


def test_a_search_goes_on_from_what_it_has_learned():
    rates = [phase.rate for phase in played("saturation", limited_to(50), slo_p99_ms=100, rate=10, warmup=0.0)]
    assert rates[:4] == [10, 20, 40, 80]
    assert all(40 < rate < 80 for rate in rates[4:])
    assert abs(rates[-1] - 50) < 5


def test_a_soak_without_a_capacity_looks_for_it_before_it_measures():
    phases = played("soak", limited_to(50), slo_p99_ms=100, rate=10, duration=60.0)
    (soak,) = [phase for phase in phases if phase.measured]
    assert soak is phases[-1]
    assert 0.7 * 40 <= soak.rate <= 0.7 * 55
    assert all(phase.block < -1 for phase in phases[:-1])


def test_a_soak_of_a_server_without_any_capacity_measures_nothing():
    phases = played("soak", lambda phase: samples(0.1, failed=True), slo_p99_ms=100, rate=10)
    assert not any(phase.measured for phase in phases)


def test_ab_has_each_endpoint_as_often_and_in_random_abba_order():
    phases = played("ab", rate=5.0, against="http://g", duration=160.0, block_seconds=2.0)
    blocks = [phase for phase in phases if phase.measured]
    assert Counter(phase.endpoint for phase in blocks) == {0: 40, 1: 40}
    quads = [tuple(phase.endpoint for phase in blocks[start : start + 4]) for start in range(0, 80, 4)]
    assert set(quads) == {(0, 1, 1, 0), (1, 0, 0, 1)}
    for first, second in zip(blocks[::2], blocks[1::2], strict=True):
        assert first.seed == second.seed
        assert {first.endpoint, second.endpoint} == {0, 1}
    assert len({phase.seed for phase in blocks}) == 40


def test_a_closed_loop_is_asked_for_and_has_no_rate():
    phase = played("rate", loop="closed", users=7, pacing=0.5, warmup=0.0)[0]
    assert (phase.rate, phase.users, phase.pacing) == (None, 7, 0.5)


def test_samples_are_kept_as_they_were(tmp_path):
    kept = Samples(**{name: getattr(samples(0.5, 5), name) for name in COLUMNS}, labels=("好", "bad"))
    kept.save(tmp_path / "samples.npz")
    loaded = Samples.load(tmp_path / "samples.npz")
    assert loaded.labels == ("好", "bad")
    assert all(np.array_equal(getattr(loaded, name), getattr(kept, name)) for name in COLUMNS)


def test_a_failed_request_is_infinitely_slow():
    assert np.isinf(samples(0.5, 3, failed=True).latency).all()
    assert np.allclose(samples(0.5, 3).latency, 0.5)


def test_the_samples_of_workers_are_merged_by_schedule_and_their_labels_numbered_anew():
    def part(times: list[float], labels: tuple[str, ...], numbers: list[int]) -> Samples:
        rows = np.zeros(len(times), dtype=ROW)
        rows["scheduled"], rows["label"] = times, numbers
        return Samples.from_rows(rows, labels)

    merged = concatenate([part([0.0, 2.0], ("a", "b"), [1, -1]), part([1.0, 3.0], ("b", "c"), [0, 1])])
    assert merged.scheduled.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert [merged.labels[number] if number >= 0 else None for number in merged.label] == ["b", "b", None, "c"]
