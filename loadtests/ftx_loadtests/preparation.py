"""From settings and texts to a job: what a suite needs is checked, and the texts are put into the order it reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ftx.errors import FtxError
from ftx_loadtests import protocols
from ftx_loadtests.payloads import Payloads
from ftx_loadtests.settings import NEEDS_RATE, NEEDS_SLO, SEARCHES, Job, LoadSettings

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
        path = Path(settings.template)
        protocols.template(path)
        content = path.read_text(encoding="utf-8")
    return Job(settings, payloads.texts, content), payloads


def _check(settings: LoadSettings) -> None:
    suite = settings.suite
    missing = []
    if suite in NEEDS_RATE and settings.rate is None and settings.loop == "open" and not settings.trace:
        missing.append("--rate 50")
    searches = suite in SEARCHES and settings.capacity is None
    if settings.slo_p99_ms is None and (suite in NEEDS_SLO or searches):
        missing.append("--slo-p99 100" if suite in NEEDS_SLO else "--capacity 200 (or --slo-p99 100, to look for it)")
    if suite == "ab" and not settings.against:
        missing.append("--against http://127.0.0.1:8001")
    if settings.protocol == "template" and not settings.template:
        missing.append("--template request.json")
    if missing:
        raise FtxError(
            f"the suite {suite} needs {', '.join(option.split()[0] for option in missing)}",
            f"add: {' '.join(missing)}",
        )
    if settings.against and suite != "ab":
        raise FtxError(f"--against is for the suite ab, not for {suite}", "leave it out, or take --suite ab")
    if settings.loop == "closed" and suite not in ("rate", "mixed", "chaos", "ab"):
        raise FtxError(f"the suite {suite} chooses its own loop", "leave --loop out, or take --suite rate")


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
