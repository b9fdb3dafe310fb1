"""A load test as one page of HTML: style, script and charts inside it, nothing fetched, every text escaped."""

from __future__ import annotations

from pathlib import Path

from ftx import html_page
from ftx_loadtests.outcome import Result
from ftx_loadtests.report.sections import Fact, figure, latency_interval, sections

TEMPLATES = Path(__file__).parent / "templates"

HEADLINES = {
    "pass": "The SLO is met",
    "missed": "The SLO is missed",
    "measured": "Measured, and not judged",
    "inconclusive": "The measurement cannot tell",
    "invalid": "The measurement is not valid",
}
TONES = {"pass": "gain", "missed": "loss", "invalid": "loss"}
SUITE_HEADLINES = {
    ("smoke", "pass"): "All answers are right",
    ("smoke", "missed"): "Not all answers are right",
    ("saturation", "pass"): "The capacity is found",
    ("saturation", "missed"): "No rate is within the SLO",
    ("ab", "pass"): "The endpoint is faster than the other",
    ("ab", "missed"): "The endpoint is slower than the other",
    ("ab", "inconclusive"): "Neither endpoint is seen to be faster",
}


def render(result: Result) -> str:
    """The page; what the test has not measured has no section."""
    measurement = result.measurement
    return html_page.render(
        TEMPLATES,
        "loadtest",
        headline=headline(result),
        tone=TONES.get(result.verdict, ""),
        result=result,
        suite=measurement.suite,
        url=measurement.url,
        against=measurement.settings.get("against"),
        verdicts=_verdicts(result),
        figures=_figures(result),
        sections=sections(result),
        notes=result.as_json()["notes"],
    )


def headline(result: Result) -> str:
    """The verdict in a few words."""
    return SUITE_HEADLINES.get((result.measurement.suite, result.verdict), HEADLINES[result.verdict])


def _verdicts(result: Result) -> list[Fact]:
    """The three questions and their answers."""
    met = result.answer.met
    answered = result.valid and result.answer.certain
    return [
        Fact("SLO met", "not judged" if met is None or not answered else "yes" if met else "no", _tone(met, answered)),
        Fact("valid", "yes" if result.valid else "no", "" if result.valid else "loss"),
        Fact("certain", "yes" if result.answer.certain else "no"),
    ]


def _tone(met: bool | None, answered: bool) -> str:
    return "" if met is None or not answered else "gain" if met else "loss"


def _figures(result: Result) -> list[Fact]:
    document = result.as_json()
    found = [
        Fact(
            f"p{100 * q:g}",
            figure(None if estimate is None else estimate.value, "ms"),
            detail=latency_interval(estimate),
        )
        for q, estimate in result.latencies.adjusted.items()
    ]
    rate = document["achieved"]
    asked = "" if rate is None else f"of {figure(document['scheduled'], '/s')} that were due"
    found.append(Fact("sent", "closed loop" if rate is None else figure(rate, "/s"), detail=asked))
    within = "answered in time" if result.measurement.slo is not None else "answered"
    found.append(Fact("goodput", figure(document["goodput"], "/s"), detail=within))
    errors = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in result.errors.items())
    found.append(
        Fact(
            "failed",
            f"{document['error_share'] or 0:.2%}",
            "loss" if errors else "",
            f"{errors or 'none'}, of {document['requests']:,}",
        )
    )
    return found
