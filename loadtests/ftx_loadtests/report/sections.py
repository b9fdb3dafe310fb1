"""The parts of a load test's page: what each of them shows, and whether there is anything to show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ftx_loadtests.outcome import Result
from ftx_loadtests.report import charts
from ftx_loadtests.resources import Resources
from ftx_loadtests.statistics import Estimate, quantile

SERIES = (
    ("cpu", "Processor", "cores", 1.0),
    ("rss", "Memory", "MiB", 2**-20),
    ("gpu_utilization", "GPU utilisation", "%", 100.0),
    ("gpu_memory", "GPU memory", "MiB", 2**-20),
    ("gpu_power", "GPU power", "W", 1.0),
    ("gpu_clock", "GPU clock", "MHz", 1.0),
)
OPEN = "From the scheduled start; a failure counts as infinitely slow."
CLOSED = (
    "A closed loop: a request waits for the one before, so that a server that stalls is asked less. It is not what "
    "users wait."
)


@dataclass(frozen=True)
class Fact:
    """A name and what it is. `tone` is `gain`, `loss` or empty."""

    name: str
    value: str
    tone: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Chart:
    title: str
    drawing: Markup
    key: tuple[str, ...] = ()
    """Names of its lines."""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Cells as texts; where `shares` are given, a bar of that share of the width is behind the last cell of a row."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    shares: Sequence[float] = ()


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    charts: tuple[Chart, ...] = ()
    facts: tuple[Fact, ...] = ()
    table: Table | None = None
    note: str = ""


def sections(result: Result) -> list[Section]:
    """Those that have something to show, in their order on the page."""
    found = (
        _latency(result),
        _capacity(result),
        _comparison(result),
        _spike(result),
        _mixed(result),
        _drift(result),
        _stages(result),
        _lengths(result),
        _answers(result),
        _machine(result),
        _settings(result),
    )
    return [section for section in found if section is not None]


def figure(value: float | None, unit: str, digits: int = 4) -> str:
    if value is None or math.isnan(value):
        return "–"
    if not math.isfinite(value):
        return "infinite"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"
    return f"{text}{unit}" if unit[:1] in ("/", "×", "%") else f"{text} {unit}".strip()


def latency_interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return "too few requests"
    return f"{figure(estimate.low, '')} to {figure(estimate.high, 'ms')}"


def _latency(result: Result) -> Section | None:
    samples, slo = result.samples, result.measurement.settings.get("slo_p99_ms")
    if not len(samples):
        return None
    judged = result.measurement.samples.select(result.measurement.of_blocks([phase.block for phase in result.judged]))
    split = judged.ok.any() and not judged.ok.all()
    drawn = (
        Chart(
            "Distribution",
            charts.distribution(judged, slo),
            ("from the scheduled start", "of those answered") if split else (),
            "Failures are never answered: their share is missing at the top." if split else "",
        ),
        Chart("Over time", charts.timeline(samples, result.measurement.measured, slo), ("p50", "p95")),
    )
    rows = []
    for q, estimate in result.latencies.adjusted.items():
        answered = result.latencies.successful[q]
        rows.append((f"p{100 * q:g}", _cell(estimate), latency_interval(estimate), _cell(answered)))
    table = Table(("", "all requests", "95% interval", "of those answered"), rows)
    note = OPEN if result.measurement.open_loop else CLOSED
    return Section("latency", "Latency", drawn, (), table, note)


def _cell(estimate: Estimate | None) -> str:
    return figure(None if estimate is None else estimate.value, "ms")


def _capacity(result: Result) -> Section | None:
    found, slo = result.capacity, result.measurement.settings.get("slo_p99_ms")
    if found is None or slo is None:
        return None
    samples = result.measurement.samples
    rates = {phase.block: phase.rate for phase in result.measurement.phases}
    p50s = [
        1000
        * quantile(samples.latency[result.measurement.of_blocks([b for b, r in rates.items() if r == rung.rate])], 0.5)
        for rung in found.rungs
    ]
    rows = [
        (figure(rung.rate, "/s"), str(rung.samples), figure(1000 * rung.p99.value, "ms"), rung.standing)
        for rung in found.rungs
    ]
    high = "no bound was found" if math.isinf(found.high) else f"surely less than {figure(found.high, '/s')}"
    facts = (
        Fact("capacity", figure(found.rate, "/s"), detail="the highest rate within the SLO"),
        Fact("interval", f"{figure(found.low, '/s')} or more", detail=high),
    )
    chart = Chart("Rate against latency", charts.rungs(found.rungs, p50s, float(slo)), ("p50", "p99"))
    return Section("capacity", "Capacity", (chart,), facts, Table(("rate", "requests", "p99", "to the SLO"), rows))


def _comparison(result: Result) -> Section | None:
    found = result.comparison
    if found is None:
        return None
    rows = [
        (f"p{100 * q:g}", figure(ratio.value, "×"), f"{ratio.low:.3f} to {ratio.high:.3f}")
        for q, ratio in found.ratios.items()
        if ratio is not None
    ]
    facts = [
        Fact("finding", found.finding),
        Fact("pairs of blocks", str(found.pairs)),
        Fact("requests to each", str(found.requests)),
    ]
    if found.detectable is not None:
        facts.append(Fact("detectable", f"{found.detectable:.1%}", detail="four times in five, with so many pairs"))
    if found.more_requests:
        facts.append(Fact("would tell", f"{found.more_requests} more requests", detail="to each"))
    table = Table(("", "takes so many times as long", "95% interval"), rows) if rows else None
    return Section("comparison", "Against the other endpoint", (), tuple(facts), table)


def _spike(result: Result) -> Section | None:
    found = result.spike
    if found is None:
        return None
    recovery = found.recovery_seconds
    facts = (
        Fact("shed in the spike", f"{found.shed.value:.1%}", detail=f"{found.shed.low:.1%} to {found.shed.high:.1%}"),
        Fact("failed otherwise", f"{found.failed:.1%}"),
        Fact("p99 of those answered", figure(found.answered_p99_ms, "ms")),
        Fact("recovery", "not within the test" if recovery is None else figure(recovery, "s")),
    )
    return Section("spike", "Spike", (), facts, None, f"Recovered: within {found.limit_ms:.4g} ms again.")


def _mixed(result: Result) -> Section | None:
    found = result.inflation
    if found is None:
        return None
    factor = found.factor
    facts = (
        Fact("p99 of short texts alone", figure(found.alone_ms.value, "ms"), detail=latency_interval(found.alone_ms)),
        Fact("among long ones", figure(found.mixed_ms.value, "ms"), detail=latency_interval(found.mixed_ms)),
        Fact("inflation", figure(factor.value, "×"), detail=f"{factor.low:.3g} to {factor.high:.3g}"),
    )
    return Section("mixed", "Short texts among long ones", (), facts)


def _drift(result: Result) -> Section | None:
    rows = [
        (
            name.replace("_", " "),
            figure(line.level, line.unit),
            figure(line.slope.value, f"{line.unit}/h"),
            f"{figure(line.slope.low, '')} to {figure(line.slope.high, '')}",
            line.direction,
        )
        for name, line in result.drifts.items()
    ]
    head = ("", "mean", "slope", "95% interval", "")
    return Section("drift", "Drift", table=Table(head, rows)) if rows else None


def _stages(result: Result) -> Section | None:
    found = result.breakdown
    if found is None:
        return None
    rows = [
        (stage, figure(mean, "ms", 3), figure(found.slowest[stage], "ms", 3), f"{found.shares[stage]:.0%}")
        for stage, mean in found.mean.items()
    ]
    facts = [Fact("slowest 1% wait for", found.culprit)] if found.culprit else []
    if result.padding is not None:
        facts.append(Fact("padding", f"{result.padding:.0%}", detail="of the computed tokens"))
    table = Table(("stage", "mean", "slowest 1%", "share of the mean"), rows, list(found.shares.values()))
    note = "lag is the client's own; network is what the server does not count."
    return Section("stages", "Where the time went", (), tuple(facts), table, note)


def _lengths(result: Result) -> Section | None:
    if not result.lengths:
        return None
    rows = [
        (f"{each.first} to {each.last}", str(each.requests), figure(each.p50_ms, "ms"), figure(each.p95_ms, "ms"))
        for each in result.lengths
    ]
    chart = Chart("Length against latency", charts.lengths(result.samples, result.lengths), ("p50", "p95"))
    return Section("lengths", "Length", (chart,), (), Table(("tokens", "requests", "p50", "p95"), rows))


def _answers(result: Result) -> Section | None:
    found, facts = result.agreement, []
    if found is not None:
        bounds = f"{found.share.low:.2%} to {found.share.high:.2%}"
        facts.append(Fact("agree with the reference", f"{found.share.value:.2%}", detail=bounds))
        facts.append(Fact("differing", f"{found.differing} of {found.answers}"))
    if result.unsteady:
        facts.append(Fact("texts with different labels", str(len(result.unsteady)), "loss", "in the same test"))
    return Section("answers", "Answers under load", (), tuple(facts)) if facts else None


def _machine(result: Result) -> Section | None:
    resources = result.measurement.resources
    drawn = [] if resources is None else list(_series(resources))
    facts = [] if resources is None else [Fact("GPU", name) for name in resources.devices]
    costs = result.costs
    if costs is not None and costs.watts is not None:
        facts.append(Fact("mean power", figure(costs.watts, "W"), detail="processor and GPU, idle power included"))
        facts.append(Fact("energy", figure((costs.joules_per_million or 0) / 1e3, "kJ"), detail="a million requests"))
    if costs is not None and costs.price_per_million is not None:
        rate = f"a million requests, at {figure(costs.answered_per_second, '/s')}"
        facts.append(Fact("price", figure(costs.price_per_million, ""), detail=rate))
    if not drawn and not facts:
        return None
    return Section("machine", "The server's machine", tuple(drawn), tuple(facts))


def _series(resources: Resources) -> Iterator[Chart]:
    for name, title, unit, factor in SERIES:
        times, values = resources.series(name)
        if len(times) > 1:
            yield Chart(title, charts.series(times, values * factor, title, unit))


def _settings(result: Result) -> Section:
    document: Mapping[str, Any] = result.as_json()
    client = document["client"]
    facts = [
        Fact("requests", f"{document['requests']:,}"),
        Fact("measured", figure(document["seconds"], "s")),
        Fact("client's processor", f"{client['cpu_share']:.0%}", detail="of a core, the busiest process"),
        Fact("client's lag, p99", figure(client["lag_p99_ms"], "ms", 3)),
        Fact(
            "client's floor, p99", figure(client["floor_p99_ms"], "ms", 3), detail="against a server that does nothing"
        ),
    ]
    rows = [(name, _short(value)) for name, value in result.measurement.settings.items() if value not in (None, "", [])]
    server = result.measurement.server
    if server is not None and server.before is not None:
        rows += [(f"server: {name}", _short(value)) for name, value in server.before.items()]
    return Section("settings", "How it was measured", (), tuple(facts), Table(("setting", "value"), rows))


def _short(value: Any, most: int = 120) -> str:
    text = str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"
