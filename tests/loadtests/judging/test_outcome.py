"""Verdicts: is the SLO met, was the measurement valid, is the answer certain."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from ftx_loadtests.command import lines_of
from ftx_loadtests.measurement import ClientFacts, Measurement, Phase, ServerFacts
from ftx_loadtests.outcome import Result, judge
from ftx_loadtests.resources import Reading, Resources
from ftx_loadtests.samples import Failure, Samples, concatenate

RATE, SECONDS = 50.0, 40.0


@pytest.fixture
def steady(sampled):
    """`steady(latency, **what of the measurement is otherwise)`: 40 s at 50/s, answered after `latency` seconds."""

    def build(latency: Any = None, columns: Any = None, **more: Any) -> Measurement:
        scheduled = np.arange(0, SECONDS, 1 / RATE)
        usual = 0.02 + 0.02 * np.random.default_rng(0).random(len(scheduled))
        samples = sampled(scheduled, usual if latency is None else latency, **(columns or {}))
        given = {
            "suite": "rate",
            "url": "http://server",
            "settings": {"slo_p99_ms": 100.0, "rate": RATE},
            "samples": samples,
            "phases": [Phase(0, "rate", 0, SECONDS, RATE)],
            "client": ClientFacts(0.2),
            **more,
        }
        return Measurement(**given)

    return build


def verdicts(result: Result) -> tuple[str, bool, bool, int]:
    return result.verdict, result.valid, result.answer.certain, result.exit_code


def test_a_fast_server_passes(steady):
    result = judge(steady())
    assert verdicts(result) == ("pass", True, True, 0)
    document = result.as_json()
    assert document["achieved"] == document["scheduled"] == RATE and document["goodput"] == RATE
    assert document["intervals"]["p99_ms"][0] <= document["p99_ms"] <= document["intervals"]["p99_ms"][1] < 100
    assert 29 < document["p50_ms"] < 31 and document["errors"] == {} and document["capacity"] is None


def test_a_slow_server_misses_the_slo(steady):
    assert verdicts(judge(steady(0.2))) == ("missed", True, True, 1)


def test_a_client_that_is_late_by_less_than_a_timer_can_tell_is_believed_without_an_slo(steady):
    def late_by(seconds: float) -> Measurement:
        sent = np.arange(0, SECONDS, 1 / RATE) + seconds
        return steady(0.002, {"sent": sent}, settings={"slo_p99_ms": None, "rate": RATE})

    assert judge(late_by(0.0005)).valid
    assert not judge(late_by(0.0015)).valid


def test_an_slo_within_the_interval_of_the_p99_is_inconclusive(steady):
    latency = np.full(2000, 0.02)
    latency[::100] = 0.5
    result = judge(steady(latency))
    assert verdicts(result) == ("inconclusive", True, False, 4)
    assert "lies in this interval" in result.answer.sentence


def test_failures_make_the_adjusted_quantiles_infinite_and_leave_the_others(steady):
    failure = np.where(np.arange(2000) % 20 == 0, Failure.STATUS, Failure.NONE)
    result = judge(steady(0.02, {"failure": failure, "status": np.where(failure, 503, 200)}))
    document = result.as_json()
    assert result.verdict == "missed"
    assert document["p99_ms"] == "inf" and document["success_only"]["p99_ms"] == pytest.approx(20.0)
    assert document["errors"] == {"status": 100, "status_503": 100} and document["error_share"] == 0.05
    json.dumps(document, allow_nan=False)
    assert "p95 20 ms  p99 infinite, from the scheduled start" in "\n".join(lines_of(result))


def test_without_an_slo_nothing_is_judged(steady):
    assert verdicts(judge(steady(settings={"rate": RATE}))) == ("measured", True, True, 0)


def late(share: float) -> dict[str, Any]:
    scheduled = np.arange(0, SECONDS, 1 / RATE)
    return {"sent": scheduled + np.where(np.arange(2000) % 100 < 100 * share, 0.006, 0.0)}


def gone() -> dict[str, Any]:
    failure = np.where(np.arange(2000) < 1900, Failure.NONE, Failure.CONNECTION)
    return {"failure": failure, "status": np.where(failure, 0, 200)}


INFO = {"model_sha": "a" * 8, "variant": "onnx-int8", "uptime": 1}
HOT = Resources([Reading(time, gpu_throttle=0x40 if time > 30 else 0) for time in range(40)])
CAPPED = Resources([Reading(time, gpu_throttle=0x4) for time in range(40)])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"columns": late(0.02)}, "the client was late itself"),
        ({"columns": {"failure": np.where(np.arange(2000) % 50 == 0, 5, 0)}}, "40 requests were never sent"),
        (
            {"columns": {"failure": np.where(np.arange(2000) % 50 == 0, 5, 0)}},
            "49 requests a second were sent of the 50",
        ),
        ({"columns": gone()}, "the server did not answer any more"),
        ({"client": ClientFacts(0.81)}, "the client used 81% of a core"),
        ({"floor_ms": 120.0}, "the client alone takes 120 ms"),
        ({"interrupted": True}, "it was interrupted"),
        ({"server": ServerFacts(INFO, {**INFO, "model_sha": "b"})}, "model_sha: aaaaaaaa → b"),
        ({"server": ServerFacts(INFO, None)}, "the server did not answer any more"),
        ({"resources": HOT}, "the GPU was throttled (hardware thermal slowdown) in 22% of the readings"),
    ],
)
def test_what_spoils_a_measurement_makes_it_invalid_and_is_named(steady, more, words):
    result = judge(steady(**more))
    assert verdicts(result)[0::3] == ("invalid", 3)
    assert [reason for reason in result.reasons if words in reason]


@pytest.mark.parametrize(
    "more",
    [
        {"columns": late(0.005)},
        {"client": ClientFacts(0.79)},
        {"floor_ms": 90.0},
        {"server": ServerFacts(INFO, {**INFO, "uptime": 99})},
        {"server": ServerFacts(None, None)},
        {"resources": CAPPED},
    ],
)
def test_what_is_within_its_bounds_spoils_nothing(steady, more):
    assert judge(steady(**more)).valid


def test_every_reason_is_told_not_the_first(steady):
    result = judge(steady(columns=late(0.5), client=ClientFacts(0.99), interrupted=True))
    assert len(result.reasons) == 3


def test_too_few_requests_for_a_p99_are_invalid(steady, sampled):
    few = sampled(np.arange(499) / 50, 0.02)
    result = judge(steady(samples=few, phases=[Phase(0, "rate", 0, 10, 50.0)]))
    assert result.verdict == "invalid" and "499 requests are too few" in result.reasons[0]
    assert result.as_json()["p99_ms"] is None and result.as_json()["p95_ms"] == pytest.approx(20.0)
    nothing = judge(steady(samples=Samples.empty(), phases=[]))
    assert nothing.reasons == ("nothing was measured",) and nothing.exit_code == 3


def test_warming_up_is_not_judged(steady, sampled):
    cold = sampled(np.arange(-100, 0) / 50, 5.0, block=-1)
    samples = concatenate([cold, steady().samples])
    result = judge(steady(samples=samples, phases=[Phase(-1, "warm-up", -2, 0, 50.0), Phase(0, "rate", 0, 40, 50.0)]))
    assert result.verdict == "pass" and result.as_json()["requests"] == 2000


def test_a_closed_loop_is_labelled_and_has_no_rate_to_achieve(steady):
    result = judge(steady(columns=late(0.5), phases=[Phase(0, "rate", 0, 40)]))
    assert result.valid and result.as_json()["loop"] == "closed" and result.as_json()["achieved"] is None


@pytest.mark.parametrize(
    ("columns", "reference", "verdict"),
    [
        ({"label": 0}, ["bad"] * 2000, "pass"),
        ({"label": 0}, ["bad"] * 1999 + ["good"], "missed"),
        ({"label": np.arange(2000) % 2, "text": np.arange(2000) // 2}, None, "missed"),
        ({"failure": np.arange(2000) == 7}, None, "missed"),
    ],
)
def test_smoke_stands_on_errors_and_labels(steady, columns, reference, verdict):
    more = {"suite": "smoke", "reference_labels": reference, "phases": [Phase(0, "alone", 0, 40)]}
    labels = {"labels": ("bad", "good")}
    assert judge(steady(0.02, {**columns, **labels}, **more)).verdict == verdict


def saturated(sampled, p99s: dict[float, float], lag: float = 0.0) -> Measurement:
    parts, phases = [], []
    for block, (rate, latency) in enumerate(p99s.items()):
        start = 30.0 * block
        scheduled = start + np.arange(0, 30, 1 / rate)
        sent = scheduled + (lag if latency > 0.1 else 0.0)
        parts.append(sampled(scheduled, latency, sent=sent, block=block))
        phases.append(Phase(block, f"{rate}/s", start, start + 30, rate))
    settings = {"slo_p99_ms": 100.0}
    return Measurement("saturation", "http://server", settings, concatenate(parts), phases, ClientFacts(0.3))


def test_saturation_tells_the_capacity_and_its_bounds(sampled):
    result = judge(saturated(sampled, {50.0: 0.02, 100.0: 0.05, 200.0: 2.0, 110.0: 0.9}))
    assert verdicts(result) == ("pass", True, True, 0)
    capacity = result.as_json()["capacity"]
    assert capacity["rate"] == 100.0 and capacity["interval"] == [100.0, 110.0] and len(capacity["rungs"]) == 4
    assert result.as_json()["p50_ms"] == pytest.approx(50.0)
    wide = judge(saturated(sampled, {50.0: 0.02, 100.0: 0.05, 200.0: 2.0}))
    assert wide.verdict == "inconclusive"
    assert judge(saturated(sampled, {50.0: 0.5, 25.0: 0.5})).verdict == "missed"


def test_a_capacity_that_the_client_ends_is_invalid(sampled):
    result = judge(saturated(sampled, {100.0: 0.05, 110.0: 0.9}, lag=0.5))
    assert result.verdict == "invalid" and "at 110/s the client was late itself" in result.reasons[0]


def test_requests_dropped_beyond_the_capacity_are_the_servers_doing(sampled):
    measurement = saturated(sampled, {100.0: 0.05, 110.0: 0.9})
    measurement.samples.failure[measurement.samples.block == 1] = Failure.DROPPED
    assert judge(measurement).verdict == "pass"


def test_a_spike_is_judged_by_what_is_before_and_after_it(sampled):
    parts = [
        sampled(20 * block + np.arange(0, 20, 1 / 30), latency, block=block)
        for block, latency in enumerate((0.02, 9, 0.02))
    ]
    names = ("before", "spike", "after")
    phases = [Phase(block, name, 20 * block, 20 * block + 20, 30.0) for block, name in enumerate(names)]
    settings = {"slo_p99_ms": 100.0}
    result = judge(Measurement("spike", "http://server", settings, concatenate(parts), phases, ClientFacts(0.1)))
    assert result.verdict == "pass" and result.as_json()["spike"]["recovery_s"] == 0


@pytest.mark.parametrize(
    ("factor", "verdict", "code"), [(1.5, "missed", 1), (0.6, "pass", 0), (1.0, "inconclusive", 4)]
)
def test_an_a_b_answers_faster_slower_or_cannot_tell(sampled, factor, verdict, code):
    random = np.random.default_rng(5)
    parts, phases = [], []
    for block in range(40):
        endpoint = (0, 1, 1, 0)[block % 4]
        latency = 0.01 * random.lognormal(sigma=0.3, size=50) * (factor if endpoint == 0 else 1.0)
        parts.append(sampled(block + np.arange(50) / 50, latency, endpoint=endpoint, block=block))
        phases.append(Phase(block, "AB"[endpoint], block, block + 1, 50.0))
    result = judge(Measurement("ab", "http://server", {}, concatenate(parts), phases, ClientFacts(0.1)))
    assert (result.verdict, result.exit_code) == (verdict, code)
    parts[1].failure[:] = Failure.TIMEOUT
    spoiled = judge(Measurement("ab", "http://server", {}, concatenate(parts), phases, ClientFacts(0.1)))
    assert "5.0% of the requests to the other endpoint failed" in spoiled.reasons[0]


def test_energy_and_price_are_told_for_a_million_requests(steady):
    readings = [Reading(float(time), cpu_energy=100.0 * time) for time in range(41)]
    settings = {"slo_p99_ms": 100.0, "price_per_hour": 1.8}
    costs = judge(steady(resources=Resources(readings), settings=settings)).as_json()["costs"]
    assert costs["watts"] == 100.0 and costs["joules_per_million"] == 2_000_000
    assert costs["price_per_million"] == pytest.approx(1.8 / 3600 / 50 * 1e6, rel=1e-4)


def test_no_figure_of_the_document_is_no_number(steady, sampled):
    for measurement in (
        steady(math.inf),
        saturated(sampled, {8.0: math.inf}),
        steady(samples=Samples.empty(), phases=[]),
    ):
        document = judge(measurement).as_json()
        assert json.loads(json.dumps(document, allow_nan=False)) == document
