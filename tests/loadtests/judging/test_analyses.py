"""What is read out of samples beyond their quantiles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ftx_loadtests.ab import Comparison, compare
from ftx_loadtests.agreement import agreement, unsteady
from ftx_loadtests.drift import drift, drifts
from ftx_loadtests.measurement import ClientFacts, Measurement, Phase
from ftx_loadtests.mixed import inflation
from ftx_loadtests.resources import Reading, Resources
from ftx_loadtests.samples import Failure, Samples, concatenate
from ftx_loadtests.spike import spike
from ftx_loadtests.stages import breakdown, by_length, padding_share

PHASES = {
    "spike": [Phase(0, "before", 0, 20, 30.0), Phase(1, "spike", 20, 40, 150.0), Phase(2, "after", 40, 60, 30.0)],
    "mixed": [Phase(0, "short", 0, 60, 20.0), Phase(1, "mixed", 60, 120, 20.0)],
    "soak": [Phase(0, "soak", 0, 3600, 2.0)],
}


def measured(suite: str, samples: Samples, **more: Any) -> Measurement:
    settings = {"slo_p99_ms": 100.0, **more.pop("settings", {})}
    return Measurement(suite, "http://server", settings, samples, PHASES.get(suite, ()), ClientFacts(0.1), **more)


def race(sampled, seed: int, slower: float, pairs: int = 20, each: int = 40) -> Comparison:
    """Blocks in random ABBA order, on a machine whose speed wanders between and within blocks."""
    random = np.random.default_rng(seed)
    speed, parts = 1.0, []
    for pair in range(pairs):
        texts = random.lognormal(sigma=0.5, size=each)
        for place, endpoint in enumerate(random.permutation(2)):
            speed *= math.exp(0.04 * random.normal())
            factor = slower if endpoint == 0 else 1.0
            latency = 0.01 * speed * factor * texts * random.lognormal(sigma=0.3, size=each)
            block = 2 * pair + place
            parts.append(sampled(block + np.arange(each) / each, latency, endpoint=endpoint, block=block))
    return compare(concatenate(parts))


def test_two_identical_endpoints_cannot_be_told_apart(sampled):
    found = [race(sampled, seed, 1.0) for seed in range(20)]
    assert sum(each.finding == "cannot tell" for each in found) >= 18
    assert all(each.more_requests for each in found if each.finding == "cannot tell")


def test_an_endpoint_that_is_slower_by_15_percent_is_found_slower(sampled):
    found = [race(sampled, seed, 1.15) for seed in range(20)]
    assert sum(each.finding == "slower" for each in found) >= 18
    ratios = [ratio for each in found if (ratio := each.ratios[0.5]) is not None]
    assert sum(each.low <= 1.15 <= each.high for each in ratios) >= 17
    assert found[0].more_requests is None


def test_an_endpoint_that_is_faster_is_found_faster(sampled):
    assert race(sampled, 3, 0.8).finding == "faster"


def test_so_many_more_samples_as_an_a_b_asks_for_do_tell(sampled):
    short = [race(sampled, seed, 1.08, pairs=6) for seed in range(20)]
    unclear = [each for each in short if each.finding == "cannot tell" and each.ratios[0.5] is not None]
    wanted = float(np.median([each.more_requests for each in unclear if each.more_requests]))
    assert unclear and wanted > 0
    longer = [race(sampled, 100 + seed, 1.08, pairs=60).finding for seed in range(5)]
    assert longer.count("slower") >= 4
    detectable = [each.detectable for each in short if each.detectable]
    assert np.median(detectable) > 0.04


def test_too_few_pairs_tell_nothing(sampled):
    found = race(sampled, 0, 3.0, pairs=3)
    assert found.finding == "cannot tell" and found.ratios[0.5] is None and found.more_requests


def test_both_endpoints_in_one_block_are_a_pair(sampled):
    parts = [
        sampled(block + np.arange(40) / 40, 0.01 * (2 - endpoint) * (1 + 0.01 * block), endpoint=endpoint, block=block)
        for block in range(8)
        for endpoint in (0, 1)
    ]
    found = compare(concatenate(parts))
    assert found.pairs == 8 and found.finding == "slower"
    assert found.ratios[0.5] is not None and found.ratios[0.5].value == pytest.approx(2.0)


def test_a_leak_is_a_rising_slope_and_noise_is_level(sampled):
    random = np.random.default_rng(0)
    times = np.arange(0.0, 3600.0, 10.0)
    leak = [Reading(time, rss=2**30 + 2**20 * 50 * time / 3600 + 2**20 * random.normal()) for time in times]
    scheduled = np.arange(0.0, 3600.0, 0.5)
    samples = sampled(scheduled, 0.01 + 0.001 * random.random(len(scheduled)))
    found = drifts(measured("soak", samples, resources=Resources(leak)))
    assert found["server_rss"].direction == "rising"
    assert found["server_rss"].slope.low <= 50 <= found["server_rss"].slope.high
    assert found["p50"].direction == found["p95"].direction == "level"
    assert "gpu_memory" not in found


def test_a_latency_that_grows_is_seen_in_the_medians_of_its_windows(sampled):
    scheduled = np.arange(0.0, 3600.0, 0.5)
    samples = sampled(scheduled, 0.01 + 0.005 * scheduled / 3600 + 0.002 * np.random.default_rng(1).random(7200))
    found = drifts(measured("soak", samples))
    assert found["p50"].direction == "rising" and found["p50"].slope.value == pytest.approx(5.0, rel=0.1)


def test_a_random_walk_is_seldom_called_a_trend():
    random = np.random.default_rng(2)
    called = 0
    for _ in range(50):
        values = np.zeros(200)
        for place in range(1, 200):
            values[place] = 0.9 * values[place - 1] + random.normal()
        line = drift(np.arange(200.0), values, "ms")
        assert line is not None
        called += line.direction != "level"
    assert called <= 7
    assert drift(np.arange(5.0), np.arange(5.0), "ms") is None


def test_a_spike_tells_what_was_shed_and_when_the_server_was_itself_again(sampled):
    before = sampled(np.arange(0, 20, 1 / 30), 0.02, block=0)
    scheduled = np.arange(20, 40, 1 / 150)
    refused = np.arange(len(scheduled)) % 4 == 0
    during = sampled(
        scheduled,
        0.3,
        block=1,
        status=np.where(refused, 429, 200),
        failure=np.where(refused, Failure.STATUS, Failure.NONE),
    )
    scheduled = np.arange(40, 60, 1 / 30)
    after = sampled(scheduled, np.where(scheduled < 44.5, 0.4, 0.02), block=2)
    found = spike(measured("spike", concatenate([before, during, after])))
    assert found is not None
    assert found.shed.value == pytest.approx(0.25, abs=0.001) and found.failed == 0
    assert found.answered_p99_ms == pytest.approx(300.0)
    assert found.recovery_seconds == 5.0


def test_a_server_that_stays_slow_after_a_spike_has_not_recovered(sampled):
    parts = [sampled(np.arange(start, start + 20, 1 / 30), 0.2, block=block) for block, start in enumerate((0, 20, 40))]
    found = spike(measured("spike", concatenate(parts)))
    assert found is not None and found.recovery_seconds is None
    assert spike(measured("spike", parts[0])) is None


def test_long_texts_inflate_the_p99_of_short_ones(sampled):
    random = np.random.default_rng(3)
    scheduled = np.arange(0.0, 60.0, 0.05)
    alone = sampled(scheduled, 0.01 + 0.001 * random.random(1200), tokens=random.integers(4, 20, 1200), block=0)
    tokens = np.where(np.arange(1200) % 4 == 0, 400, random.integers(4, 19, 1200))
    mixed = sampled(60 + scheduled, np.where(tokens == 400, 0.5, 0.03), tokens=tokens, block=1)
    found = inflation(measured("mixed", concatenate([alone, mixed])))
    assert found is not None and found.shortest == 19
    assert found.factor.value == pytest.approx(0.03 / 0.011, rel=0.01)
    assert found.factor.low <= found.factor.value <= found.factor.high
    assert inflation(measured("mixed", alone)) is None


def test_agreement_counts_answers_whose_right_label_is_known(sampled):
    texts, labels = np.array([0, 0, 1, 1, 2, 3]), np.array([0, 0, 1, 0, 1, 0])
    samples = sampled(np.arange(6), 0.01, ("bad", "good"), text=texts, label=labels)
    found = agreement(measured("rate", samples, reference_labels=["bad", "good", "never", None]))
    assert found is not None
    assert (found.answers, found.differing, found.texts) == (5, 2, (1, 2))
    assert unsteady(samples) == (1,)
    assert agreement(measured("rate", samples)) is None


def test_stages_add_up_and_the_slowest_requests_have_a_culprit(sampled):
    random = np.random.default_rng(4)
    queue = np.where(np.arange(1000) < 10, 200.0, random.random(1000))
    stages = {"queue": queue, "tokenize": 1.0, "batch": 0.5, "compute": 8.0}
    samples = sampled(np.arange(1000) / 50, (queue + 9.5 + 2.0) / 1000, **stages)
    found = breakdown(samples)
    assert found is not None
    assert found.mean["network"] == pytest.approx(2.0, abs=1e-3) and found.mean["lag"] == 0
    assert sum(found.mean.values()) == pytest.approx(float(samples.latency.mean() * 1000), rel=1e-5)
    assert found.culprit == "queue" and found.excess["queue"] == pytest.approx(1.0, abs=1e-3)
    assert breakdown(sampled(np.arange(3), 0.01)) is None


def test_latency_is_told_by_ranges_of_tokens(sampled):
    tokens = np.repeat([5, 100, 2000], 200)
    found = by_length(sampled(np.arange(600), tokens / 1000, tokens=tokens))
    assert [(each.first, each.last, each.requests) for each in found] == [
        (0, 8, 200),
        (65, 128, 200),
        (1025, 2000, 200),
    ]
    assert [each.p50_ms for each in found] == pytest.approx([5.0, 100.0, 2000.0])
    assert by_length(sampled(np.arange(5), 0.1, tokens=7))[0].p50_ms is None
    assert by_length(sampled(np.arange(5), 0.1)) == []


@pytest.mark.parametrize("told", [True, False])
def test_padding_counts_each_batch_once(sampled, told):
    # Two texts of 10 and 30 tokens padded to 32 each, and a text alone without padding.
    samples = sampled(
        np.arange(3),
        0.01,
        tokens=[10, 30, 16],
        batch_size=[2, 2, 1],
        padded_tokens=[64, 64, 16],
        batch_tokens=[40, 40, 16] if told else -1,
    )
    assert padding_share(samples) == pytest.approx(1 - 56 / 80)
    assert padding_share(sampled(np.arange(3), 0.01)) is None
