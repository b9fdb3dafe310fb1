"""Suites on servers of known behaviour; those that take minutes are behind `make test-load`."""

from __future__ import annotations

import asyncio
import contextlib
import json

import numpy as np
import pytest
from tests.loadtests.driving.conftest import answer, one_at_a_time

from ftx_loadtests.outcome import judge
from ftx_loadtests.payloads import Payloads

pytestmark = pytest.mark.xdist_group("load-suites")


def slower_by(share: float, base: float = 0.01):
    """Each request takes `base` and `share` more of it, with some noise, and does not wait for others."""
    random = np.random.default_rng(int(share * 1000))

    async def behave(body: bytes) -> bytes | None:
        await asyncio.sleep(base * (1 + share) * random.uniform(0.9, 1.1))
        return answer()

    return behave


def test_smoke_passes_a_server_that_is_right_and_fails_one_that_changes_its_mind(serve, run_suite):
    texts = Payloads(("one", "two", "three"), ("good", "good", "good"))
    assert judge(run_suite("smoke", serve().url, texts)).verdict == "pass"
    turn = 0

    async def waver(body: bytes) -> bytes | None:
        nonlocal turn
        turn += 1
        return answer("bad" if turn > 4 else "good")

    failed = judge(run_suite("smoke", serve(waver).url, texts))
    assert failed.verdict == "missed"
    assert failed.as_json()["unsteady_texts"] == 3


@pytest.mark.slow
def test_latency_asks_one_at_a_time_from_short_texts_to_long_ones(serve, run_suite):
    in_flight = most = 0

    async def behave(body: bytes) -> bytes | None:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(len(json.loads(body)["inputs"]) / 20_000)
        in_flight -= 1
        return answer()

    measured = run_suite("latency", serve(behave).url, duration=4.0)
    medians = [np.median(measured.samples.service[measured.samples.block == block]) for block in range(4)]
    assert most == 1
    assert medians == sorted(medians)
    assert judge(measured).verdict == "measured"


@pytest.mark.slow
def test_ab_sends_both_endpoints_the_same_texts_at_the_same_moments(serve, run_suite):
    first, second = serve(), serve()
    measured = run_suite("ab", first.url, against=second.url, rate=30, duration=8.0, block_seconds=1.0)
    samples = measured.samples
    for pair in range(4):
        blocks = [samples.select(samples.block == block) for block in (2 * pair, 2 * pair + 1)]
        assert {int(block.endpoint[0]) for block in blocks} == {0, 1}
        assert blocks[0].text.tolist() == blocks[1].text.tolist()
        distances = [np.diff(block.scheduled) for block in blocks]
        assert np.allclose(*distances)


def test_chaos_measures_the_bystanders_and_says_what_the_others_met(serve, run_suite):
    async def behave(body: bytes) -> bytes | None:
        with contextlib.suppress(ValueError):
            json.loads(body)
            return answer()
        return answer(status=400)

    measured = run_suite("chaos", serve(behave).url, rate=30, duration=4.0)
    assert [phase.name for phase in measured.phases] == ["quiet", "chaos"]
    assert measured.samples.ok.all()
    (note,) = measured.notes
    assert "HTTP 400" in note
    assert "left" in note


@pytest.mark.slow
def test_mixed_has_long_texts_in_its_second_half_alone(serve, run_suite):
    texts = Payloads(tuple(f"a short text, number {number}" for number in range(50)), ("good",) * 50)
    measured = run_suite("mixed", serve().url, texts, rate=100, duration=4.0)
    samples = measured.samples
    long = samples.text >= 50
    assert not long[samples.block == 0].any()
    assert 0.01 < long[samples.block == 1].mean() < 0.12


@pytest.mark.slow
def test_spike_has_the_shares_of_the_capacity_that_it_was_given(serve, run_suite):
    measured = run_suite("spike", serve().url, capacity=100, duration=4.0)
    assert [(phase.name, phase.rate) for phase in measured.phases] == [("before", 30), ("spike", 150), ("after", 30)]


@pytest.mark.slow
def test_saturation_finds_a_fixed_capacity_within_a_tenth(serve, run_suite):
    # Of Poisson arrivals at a server of 10 ms each, one at a time: at p99 within 100 ms the capacity is near 75/s.
    measured = run_suite("saturation", serve(one_at_a_time(0.01)).url, rate=20, duration=20.0, slo_p99_ms=100)
    capacity = judge(measured).capacity
    assert capacity is not None
    assert capacity.rate is not None
    assert capacity.rate == pytest.approx(_rate_within(0.01, 0.1), rel=0.10)


def _rate_within(service: float, limit: float) -> float:
    """The highest rate of a long simulated M/D/1 whose p99 is within the limit."""
    random = np.random.default_rng(0)
    rates = np.arange(20.0, 99.0, 0.5)
    for rate in rates[::-1]:
        gaps = random.exponential(1 / rate, 400_000)
        walk = np.concatenate([[0.0], np.cumsum(service - gaps[1:])])
        if np.quantile(walk - np.minimum.accumulate(walk) + service, 0.99) <= limit:
            return float(rate)
    raise AssertionError("no rate is within")


@pytest.mark.slow
@pytest.mark.parametrize(("share", "finding"), [(0.0, "cannot tell"), (0.15, "slower")])
def test_ab_tells_a_slower_server_from_an_equal_one(serve, run_suite, share, finding):
    measured = run_suite(
        "ab", serve(slower_by(share)).url, against=serve(slower_by(0.0)).url, rate=50, duration=40.0, block_seconds=1.0
    )
    comparison = judge(measured).comparison
    assert comparison is not None
    assert comparison.finding == finding
