"""From settings and texts to a job: what a suite needs is checked, and the texts are put into the order it reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ftx.errors import FtxError
from ftx_loadtests.payloads import Payloads
from ftx_loadtests.protocols import read_template
from ftx_loadtests.settings import NEEDS_RATE, Job, LoadSettings, missing

_OPTIONS = {"rate": "--rate", "slo_p99_ms": "--slo-p99", "capacity": "--capacity"}
LONG_FACTOR = 10
"""How much longer than the median text the long ones of `mixed` are."""
LONG_TEXTS = 64


def prepare(settings: LoadSettings, payloads: Payloads) -> tuple[Job, Payloads]:
    """The job, and the texts as it numbers them. Raises `FtxError` with everything that is missing."""
    _check(settings)
    if settings.suite == "latency":
        payloads = _sorted_by_length(payloads)
    if settings.suite == "mixed":
        settings, payloads = replace(settings, long_from=len(payloads)), _with_long_tail(payloads)
    content = None
    if settings.protocol == "template":
        assert settings.template is not None
        content = read_template(Path(settings.template))
    return Job(settings, payloads.texts, content), payloads


def _check(settings: LoadSettings) -> None:
    suite = settings.suite
    lacking = [
        f"{_OPTIONS[name]} {example}"
        for name, example in missing(suite, settings.rate, settings.slo_p99_ms, settings.capacity)
        if name != "rate" or settings.loop == "open"
    ]
    if suite == "ab" and not settings.against:
        lacking.append("--against http://127.0.0.1:8001")
    if settings.protocol == "template" and not settings.template:
        lacking.append("--template request.json")
    if lacking:
        options = ", ".join(option.split()[0] for option in lacking)
        raise FtxError(f"the suite {suite} needs {options}", f"add: {' '.join(lacking)}")
    if settings.against and suite != "ab":
        raise FtxError(f"--against is for the suite ab, not for {suite}", "leave it out, or take --suite ab")
    if settings.loop == "closed" and suite not in NEEDS_RATE:
        raise FtxError(f"the suite {suite} chooses its own loop", "leave --loop out, or take --suite rate")
    if settings.arrivals == "trace" and suite not in NEEDS_RATE:
        # Each of its rates would be the trace's.
        raise FtxError(f"the suite {suite} chooses its own rates", "leave --trace out, or take --suite rate")


def _sorted_by_length(payloads: Payloads) -> Payloads:
    order = sorted(range(len(payloads)), key=lambda place: len(payloads.texts[place]))
    labels = None if payloads.labels is None else tuple(payloads.labels[place] for place in order)
    return Payloads(tuple(payloads.texts[place] for place in order), labels)


def _with_long_tail(payloads: Payloads) -> Payloads:
    """Behind the texts, runs of them that are ten times as long as the median."""
    lengths = sorted(len(text) for text in payloads.texts)
    target = LONG_FACTOR * max(lengths[len(lengths) // 2], 20)
    long: list[str] = []
    place = 0
    while len(long) < min(LONG_TEXTS, 4 * len(payloads)):
        run: list[str] = []
        while sum(map(len, run)) < target:
            run.append(payloads.texts[place % len(payloads)])
            place += 1
        long.append(" ".join(run))
        place += len(long)  # so that the next one does not begin where this one ends, and none is like another
    labels: tuple[str | None, ...] | None = None
    if payloads.labels is not None:
        labels = (*payloads.labels, *(None for _ in long))
    return Payloads((*payloads.texts, *long), labels)
