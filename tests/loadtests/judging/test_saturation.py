"""The search for the highest rate within the SLO."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ftx_loadtests.saturation import Rung, capacity, judge_rungs, next_rate, rung_seconds
from ftx_loadtests.statistics import quantile

SLO = 0.1
SERVICE = 0.01


def flat(rate: float, latency: float, count: int = 600) -> Rung:
    return Rung(rate, np.full(count, latency))


def noisy(rate: float, count: int, late: float) -> Rung:
    """A rung with a share of `late` requests, spread evenly."""
    latencies = np.full(count, 0.02)
    latencies[:: round(1 / late)] = 0.5
    return Rung(rate, latencies)


def true_capacity(md1) -> float:
    """By bisection on half a million simulated requests a rate."""
    low, high = 1.0, 1.0 / SERVICE
    for _ in range(10):
        rate = (low + high) / 2
        p99 = quantile(md1(np.random.default_rng(0), rate, 500_000 / rate, SERVICE), 0.99)
        low, high = (rate, high) if p99 <= SLO else (low, rate)
    return low


def search(md1, seed: int, **options: float) -> list[Rung]:
    random = np.random.default_rng(seed)
    history: list[Rung] = []
    while (rate := next_rate(history, SLO, **options)) is not None:
        history.append(Rung(rate, md1(random, rate, rung_seconds(rate, 20.0), SERVICE)))
    return history


def test_a_server_of_fixed_capacity_is_found_within_a_tenth(md1):
    truth = true_capacity(md1)
    found = [capacity(search(md1, seed), SLO) for seed in range(5)]
    off = [abs((each.rate or math.inf) / truth - 1) for each in found]
    assert max(off) <= 0.1, (truth, [each.rate for each in found])
    # The interval's ends are rungs, which are a resolution apart.
    assert all(each.low / 1.05 <= truth <= each.high * 1.05 for each in found)


def test_the_search_starts_where_it_is_told_and_doubles():
    assert next_rate([], SLO, start=5.0) == 5.0
    assert next_rate([flat(5.0, 0.01)], SLO) == 10.0


def test_the_search_halves_where_the_first_rung_is_too_much():
    assert next_rate([flat(8.0, 1.0)], SLO) == 4.0
    assert next_rate([flat(0.25, 1.0)], SLO) is None
    found = capacity([flat(8.0, 1.0)], SLO)
    assert found.rate is None and found.low == 0 and found.high == 8.0


def test_the_search_ends_when_the_bracket_is_narrow_and_both_its_ends_were_measured_twice():
    good, bad = flat(100.0, 0.01), flat(104.0, 1.0)
    assert next_rate([good, bad], SLO) == 100.0
    assert next_rate([good, bad, good], SLO) == 104.0
    assert next_rate([good, bad, good, bad], SLO) is None
    between = next_rate([flat(100.0, 0.01), flat(120.0, 1.0)], SLO)
    assert between == pytest.approx(math.sqrt(100.0 * 120.0))


def test_the_search_ends_at_the_highest_rate_that_can_be_asked_for():
    assert next_rate([flat(300.0, 0.01)], SLO, highest=400.0) == 400.0
    assert next_rate([flat(400.0, 0.01)], SLO, highest=400.0) is None
    assert capacity([flat(400.0, 0.01)], SLO).high == math.inf


def test_a_rung_whose_interval_holds_the_slo_is_measured_again_and_then_decided():
    unclear = noisy(50.0, 700, 0.01)
    history = [flat(25.0, 0.01), unclear]
    assert judge_rungs(history, SLO)[1].standing == "unclear"
    assert next_rate(history, SLO) == 50.0
    assert next_rate([*history, unclear], SLO) == 50.0
    assert next_rate([*history, unclear, unclear], SLO) != 50.0


def test_too_few_samples_never_show_that_a_rate_is_within_the_slo():
    assert judge_rungs([flat(10.0, 0.01, count=499)], SLO)[0].standing == "unclear"
    assert judge_rungs([flat(10.0, 0.5, count=100)], SLO)[0].standing == "beyond"


def test_failures_put_a_rung_beyond_the_slo():
    latencies = np.full(1000, 0.01)
    latencies[::20] = math.inf
    assert judge_rungs([Rung(10.0, latencies)], SLO)[0].standing == "beyond"
    assert judge_rungs([Rung(10.0, np.array([]))], SLO)[0].standing == "beyond"


def test_the_number_of_measurements_is_bounded(md1):
    assert next_rate([noisy(50.0, 700, 0.01)] * 2, SLO, most=2) is None
    assert len(search(md1, 1, resolution=1e-9)) == 30
