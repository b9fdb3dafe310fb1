"""The judgement of a load test: is the SLO met, was the measurement valid, is the answer certain.

The exit code says the worst of it: a measurement that is not valid answers nothing (3), one that is not certain neither
yes nor no (4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ftx_loadtests.ab import MOST_FAILED, Comparison, compare
from ftx_loadtests.agreement import Agreement, agreement, unsteady
from ftx_loadtests.costs import Costs, costs
from ftx_loadtests.drift import Drift, drifts
from ftx_loadtests.measurement import Measurement, Phase
from ftx_loadtests.mixed import Inflation, inflation
from ftx_loadtests.samples import Failure, Samples
from ftx_loadtests.saturation import Capacity, as_rungs, capacity, judge_p99
from ftx_loadtests.spike import Spike, spike
from ftx_loadtests.stages import Breakdown, LengthBucket, breakdown, by_length, padding_share
from ftx_loadtests.statistics import QUANTILES, Estimate, estimate_quantiles, goodput, milliseconds
from ftx_loadtests.validity import achieved, lag_bound, lag_p99, reasons

Verdict = Literal["pass", "missed", "measured", "inconclusive", "invalid"]
EXIT_CODES: Mapping[Verdict, int] = {"pass": 0, "measured": 0, "missed": 1, "invalid": 3, "inconclusive": 4}
WIDEST = 1.25
"""A capacity whose upper bound is farther than this factor from the lower one is not certain."""


@dataclass(frozen=True)
class Answer:
    """What the suite's question came to, were the measurement valid."""

    met: bool | None
    """None where nothing was asked: there is no SLO."""
    certain: bool
    sentence: str


@dataclass(frozen=True)
class Latencies:
    """Quantiles of some requests in milliseconds, by quantile; None where there are too few requests."""

    adjusted: Mapping[float, Estimate | None]
    """Of all, failures counting as infinitely slow."""
    successful: Mapping[float, Estimate | None]


@dataclass(frozen=True)
class Result:
    """A measurement and everything that follows from it."""

    measurement: Measurement
    judged: Sequence[Phase]
    """The phases that the verdict stands on."""
    answer: Answer
    reasons: tuple[str, ...]
    """Why the measurement is not valid; empty where it is."""
    latencies: Latencies
    rates: tuple[float | None, float | None, float]
    """Requests per second: scheduled (None in a closed loop), sent (None likewise), and answered within the SLO."""
    errors: Mapping[str, int]
    capacity: Capacity | None
    comparison: Comparison | None
    drifts: Mapping[str, Drift]
    spike: Spike | None
    inflation: Inflation | None
    breakdown: Breakdown | None
    lengths: Sequence[LengthBucket]
    padding: float | None
    agreement: Agreement | None
    unsteady: tuple[int, ...]
    """Texts that got different labels in the same test."""
    costs: Costs | None

    @property
    def valid(self) -> bool:
        return not self.reasons

    @property
    def verdict(self) -> Verdict:
        if not self.valid:
            return "invalid"
        if not self.answer.certain:
            return "inconclusive"
        return "measured" if self.answer.met is None else "pass" if self.answer.met else "missed"

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints: no NaN, and an infinite latency (too many failures) is the text `inf`."""
        measurement = self.measurement
        samples = self.samples
        asked, sent, good = self.rates
        document = {
            "suite": measurement.suite,
            "url": measurement.url,
            "verdict": self.verdict,
            "valid": self.valid,
            "reasons": list(self.reasons),
            "certain": self.answer.certain,
            "met": self.answer.met,
            "says": self.answer.sentence,
            "slo_p99_ms": measurement.settings.get("slo_p99_ms"),
            "rate": measurement.settings.get("rate"),
            "scheduled": asked,
            "achieved": sent,
            "goodput": good,
            "loop": "open" if measurement.open_loop else "closed",
            "requests": len(samples),
            "seconds": measurement.seconds,
            **_figures(self.latencies.adjusted),
            "success_only": _figures(self.latencies.successful),
            "errors": dict(self.errors),
            "error_share": float((~samples.ok).mean()) if len(samples) else None,
            "capacity": _json(self.capacity),
            "ab": _json(self.comparison),
            "drift": {name: line.as_json() for name, line in self.drifts.items()} or None,
            "spike": _json(self.spike),
            "mixed": _json(self.inflation),
            "stages": _json(self.breakdown),
            "lengths": [vars(bucket) for bucket in self.lengths],
            "padding_share": self.padding,
            "agreement": _json(self.agreement),
            "unsteady_texts": len(self.unsteady),
            "costs": _json(self.costs),
            "client": {
                "cpu_share": measurement.client.cpu_share,
                "workers": measurement.client.workers,
                "lag_p99_ms": _milliseconds(lag_p99(measurement, self.judged)),
                "floor_p99_ms": measurement.floor_ms,
            },
            "server": None if measurement.server is None else measurement.server.before,
            "notes": [*measurement.notes, *(measurement.resources.notes if measurement.resources else ())],
        }
        plain: dict[str, Any] = _plain(document)
        return plain

    @cached_property
    def samples(self) -> Samples:
        """Those of the phases that count; warming up and looking for a rate are left out."""
        return self.measurement.samples.select(self.measurement.samples.block >= 0)


def judge(measurement: Measurement) -> Result:
    """Compute every figure that the samples allow, and the verdict."""
    samples = measurement.samples.select(measurement.samples.block >= 0)
    found = _capacity(measurement)
    judged = _judged(measurement, found)
    compared = compare(samples) if measurement.suite == "ab" else None
    agreed = agreement(measurement)
    wavering = unsteady(samples)
    chosen = measurement.samples.select(measurement.of_blocks([phase.block for phase in judged]))
    latencies = Latencies(_estimates(chosen.latency, measurement), _estimates(chosen.latency[chosen.ok], measurement))
    answer = _answer(measurement, chosen, latencies, found, compared, agreed, wavering)
    tail = measurement.suite not in ("smoke", "ab", "saturation")
    return Result(
        measurement,
        judged,
        answer,
        (*reasons(measurement, judged, tail=tail), *_own_reasons(measurement, found, compared)),
        latencies,
        _rates(measurement, judged, chosen),
        _errors(samples),
        found,
        compared,
        drifts(measurement) if measurement.suite == "soak" else {},
        spike(measurement) if measurement.suite == "spike" else None,
        inflation(measurement) if measurement.suite == "mixed" else None,
        breakdown(samples),
        by_length(samples),
        padding_share(samples),
        agreed,
        wavering,
        costs(measurement, judged),
    )


def _capacity(measurement: Measurement) -> Capacity | None:
    """Of the search, be it the suite itself or what another suite began with."""
    wanted = measurement.measured if measurement.suite == "saturation" else []
    searched = wanted or [phase for phase in measurement.phases if phase.block < -1]
    rates = {phase.block: phase.rate for phase in searched if phase.rate is not None}
    if not rates or measurement.slo is None:
        return None
    samples = measurement.samples
    return capacity(as_rungs(rates, samples.block, samples.latency), measurement.slo, seed=measurement.seed)


def _judged(measurement: Measurement, found: Capacity | None) -> list[Phase]:
    phases = measurement.measured
    if measurement.suite == "saturation":
        # Beyond the capacity, requests that cannot be sent are the server's doing.
        within = [phase for phase in phases if found is not None and phase.rate == found.rate]
        return within or phases[:1]
    if measurement.suite == "spike":
        return [phase for phase in phases if phase.name != "spike"]
    return phases


def _answer(
    measurement: Measurement,
    samples: Samples,
    latencies: Latencies,
    found: Capacity | None,
    compared: Comparison | None,
    agreed: Agreement | None,
    wavering: Sequence[int],
) -> Answer:
    if compared is not None:
        return _of_comparison(compared)
    if measurement.suite == "saturation":
        return _of_capacity(measurement, found)
    if measurement.suite == "smoke":
        return _of_smoke(samples, agreed, wavering)
    return _of_p99(measurement, samples, latencies)


def _of_p99(measurement: Measurement, samples: Samples, latencies: Latencies) -> Answer:
    p99, slo = latencies.adjusted[0.99], measurement.slo
    if slo is None:
        return Answer(None, True, "no SLO was set, so that nothing is judged")
    limit = f"the SLO of {1000 * slo:g} ms"
    if p99 is None:
        return Answer(None, False, f"{len(samples)} requests say nothing about {limit}")
    standing = judge_p99(p99.scaled(0.001), len(samples), slo)
    figure = f"p99 is {milliseconds(p99.value)} [{milliseconds(p99.low)}, {milliseconds(p99.high)}]"
    if standing == "unclear":
        return Answer(p99.value <= 1000 * slo, False, f"{figure}, and {limit} lies in this interval")
    return Answer(standing == "within", True, f"{figure}, {standing} {limit}")


def _of_capacity(measurement: Measurement, found: Capacity | None) -> Answer:
    if found is None:
        return Answer(None, False, "no rate was measured")
    limit = f"p99 within {1000 * (measurement.slo or math.nan):g} ms"
    if found.rate is None:
        return Answer(False, math.isfinite(found.high), f"at no rate is {limit}; {found.high:.4g}/s is beyond")
    bound = f"{found.high:.4g}" if math.isfinite(found.high) else "no bound found"
    sentence = f"{found.rate:.4g} requests a second with a {limit} [{found.low:.4g}, {bound}]"
    return Answer(True, found.low > 0 and found.high <= WIDEST * found.low, sentence)


def _of_comparison(compared: Comparison) -> Answer:
    ratio = compared.ratios[0.5]
    told = "" if ratio is None else f": its median takes {ratio.value:.3f}× [{ratio.low:.3f}, {ratio.high:.3f}] as long"
    if compared.finding == "cannot tell":
        more = compared.more_requests
        wanted = f"; about {more} more requests to each would tell" if more else ""
        return Answer(None, False, f"cannot tell which endpoint is faster{told}{wanted}")
    return Answer(compared.finding == "faster", True, f"the endpoint is {compared.finding} than the other{told}")


def _of_smoke(samples: Samples, agreed: Agreement | None, wavering: Sequence[int]) -> Answer:
    wrong = agreed.differing if agreed is not None else 0
    failed = int((~samples.ok).sum())
    found = [
        (failed, f"{failed} of {len(samples)} requests failed"),
        (wrong, f"{wrong} answers differ from the reference's"),
        (len(wavering), f"{len(wavering)} texts got different labels in one test"),
    ]
    problems = [sentence for count, sentence in found if count]
    return Answer(not problems, True, "; ".join(problems) or f"{len(samples)} requests, and all answers are right")


def _own_reasons(measurement: Measurement, found: Capacity | None, compared: Comparison | None) -> list[str]:
    if compared is not None:
        names = ("the endpoint", "the other endpoint")
        return [
            f"{share:.1%} of the requests to {name} failed: its successes are no fair sample"
            for name, share in zip(names, compared.failed, strict=True)
            if share > MOST_FAILED
        ]
    if measurement.suite != "saturation" or found is None or not measurement.open_loop:
        return []
    rate = _lowest_beyond(found)
    beyond = [phase for phase in measurement.measured if phase.rate == rate]
    lag = lag_p99(measurement, beyond) if beyond else None
    if lag is None or lag <= lag_bound(measurement, beyond):
        return []
    return [
        f"at {rate:.4g}/s the client was late itself (p99 {1000 * lag:.3g} ms): the server may take more than it shows"
    ]


def _lowest_beyond(found: Capacity) -> float | None:
    return next((rung.rate for rung in found.rungs if not rung.within), None)


def _rates(
    measurement: Measurement, phases: Sequence[Phase], chosen: Samples
) -> tuple[float | None, float | None, float]:
    seconds = sum(phase.seconds for phase in phases)
    limit = measurement.slo if measurement.slo is not None else math.inf
    good = goodput(chosen.latency[chosen.ok], limit, seconds)
    if not measurement.open_loop or seconds <= 0:
        return None, None, good
    found = [(phase.seconds, *achieved(measurement, phase)) for phase in phases]
    asked = sum(length * rate for length, rate, _ in found) / seconds
    return asked, sum(length * rate for length, _, rate in found) / seconds, good


def _estimates(latency: np.ndarray, measurement: Measurement) -> Mapping[float, Estimate | None]:
    found = estimate_quantiles(latency, QUANTILES, seed=measurement.seed)
    return {q: None if estimate is None else estimate.scaled(1000.0) for q, estimate in found.items()}


def _errors(samples: Samples) -> dict[str, int]:
    counts = {failure.name.lower(): int((samples.failure == failure).sum()) for failure in Failure if failure}
    statuses, times = np.unique(samples.status[samples.failure == Failure.STATUS], return_counts=True)
    found = {name: count for name, count in counts.items() if count}
    return found | {f"status_{status}": int(count) for status, count in zip(statuses, times, strict=True)}


def _figures(estimates: Mapping[float, Estimate | None]) -> dict[str, Any]:
    named = {f"p{100 * q:g}_ms": estimate for q, estimate in estimates.items()}
    return {
        **{name: None if each is None else each.value for name, each in named.items()},
        "intervals": {name: None if each is None else [each.low, each.high] for name, each in named.items()},
    }


def _json(part: Any) -> dict[str, Any] | None:
    return None if part is None else part.as_json()


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1000.0 * seconds


def _plain(value: Any) -> Any:
    """The same without what JSON has no words for; figures keep six digits, for more was not measured."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return float(f"{value:.6g}") if math.isfinite(value) else "inf" if value > 0 else "-inf"
    return value
