"""What a run lost and gained, in a sentence and a few figures: the outcome against the reference, on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ftx.scoreboard import model_name
from ftx_plugins.report import figures
from ftx_plugins.report.gather import RunSeen

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """One figure of the headline. `tone` is `gain`, `loss`, or empty where the rows cannot tell or it is no matter."""

    name: str
    value: str
    change: str = ""
    detail: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Headline:
    sentence: str
    about: str
    """Which model, against which, on what."""
    figures: tuple[Figure, ...] = ()
    tone: str = ""


STOPPED = {
    "failed": "The run failed",
    "interrupted": "The run was interrupted",
    "killed": "The run was killed",
    "running": "The run is not over",
    "stopped": "The run was stopped early",
}


def headline(run: RunSeen) -> Headline:
    """The headline of a run, whatever became of it."""
    outcome, reference, final = run.outcome, run.reference, run.final
    if final is None or outcome is None:
        return Headline(_stopped(run) or "Nothing was evaluated", " ".join(run.record.words), (), _tone_of(run))
    alone = reference is None or outcome is reference or final.step.metrics.get("is_reference")
    about = f"{_subject(run, outcome)}, on the {final.rows} rows of the {final.split} split"
    if alone or reference is None:
        return Headline(_stopped(run) or _alone(outcome), about, _figures_alone(outcome), _tone_of(run))
    sentence = _stopped(run) or f"{_lost(outcome, final.rows)}; {_gained(outcome, reference)}."
    figures_ = (
        _accuracy(outcome, reference),
        _macro_f1(outcome, reference),
        _flips(outcome),
        size(outcome, reference),
        rate(outcome, reference, run.choice),
        _latency(outcome, reference),
    )
    about = f"{about}, against the fine-tuned model in fp32"
    return Headline(sentence, about, tuple(each for each in figures_ if each), _tone_of(run))


def _tone_of(run: RunSeen) -> str:
    return "" if run.record.status in ("done", "running") else "loss"


def _stopped(run: RunSeen) -> str:
    if run.record.status == "budget":
        return str((run.record.error or {}).get("message", "the budget is broken")).splitlines()[0].capitalize() + "."
    at = run.steps[-1].name if run.steps else ""
    said = STOPPED.get(run.record.status, "")
    return f"{said}{f' after {at}' if at else ''}." if said else ""


def _subject(run: RunSeen, outcome: Json) -> str:
    name = model_name(outcome)
    made_by = run.final.subject if run.final else ""
    return f"{name} of {made_by}" if name != made_by else name


def _alone(outcome: Json) -> str:
    if outcome.get("accuracy") is None:
        return "Measured."
    ends = figures.percent_interval(outcome.get("intervals", {}).get("accuracy"))
    return f"{figures.percent(outcome['accuracy'])} of the labels are right" + (f" ({ends})." if ends else ".")


def _figures_alone(outcome: Json) -> tuple[Figure, ...]:
    intervals = outcome.get("intervals", {})
    quality = (
        Figure(title, figures.percent(outcome[name]), detail=figures.percent_interval(intervals.get(name)))
        for title, name in (("Accuracy", "accuracy"), ("Macro F1", "f1_macro"), ("Calibration error", "ece"))
        if outcome.get(name) is not None
    )
    return (
        *quality,
        Figure("Size", figures.megabytes(outcome.get("size_mb"))),
        Figure("Rows a second", figures.rate(outcome.get("rows_per_second"))),
    )


def _lost(outcome: Json, rows: int) -> str:
    against = outcome.get("against_reference")
    if not outcome.get("flips") and outcome.get("flips") is not None:
        return "Every label is the reference’s"
    if against is None:
        return f"{figures.percent(outcome.get('flip_rate'))} of the labels changed"
    found = against["accuracy"]
    change = figures.points(abs(found["difference"]))
    sizes = f"{change.lstrip('+')} points of accuracy ({figures.points_interval(found.get('interval'))})"
    return {
        "better": f"Gained {sizes}",
        "worse": f"Lost {sizes}",
    }.get(
        str(against["verdict"]),
        f"No loss of accuracy that {rows} rows can show ({figures.points_interval(found.get('interval'))} points)",
    )


def _gained(outcome: Json, reference: Json) -> str:
    found = []
    lighter, faster = _ratio(reference, outcome, "size_mb"), _ratio(outcome, reference, "rows_per_second")
    if lighter is not None:
        found.append(_times(lighter, SIZES))
    if faster is not None:
        found.append(f"{figures.times(faster)} the rows a second")
    return " and ".join(found) or "speed and size were not measured"


def _ratio(one: Json, other: Json, name: str) -> float | None:
    first, second = one.get(name), other.get(name)
    return first / second if first and second else None


def _quality(title: str, name: str, outcome: Json, reference: Json) -> Figure | None:
    if outcome.get(name) is None:
        return None
    against = outcome.get("against_reference", {}).get(name)
    if against is None:
        return Figure(title, figures.percent(outcome[name]))
    ends = against.get("interval")
    tone = "" if not ends else "loss" if ends[1] < 0 else "gain" if ends[0] > 0 else ""
    change = f"{figures.points(against['difference'])} points"
    detail = f"{figures.points_interval(ends)}; was {figures.percent(reference.get(name))}"
    return Figure(title, figures.percent(outcome[name]), change, detail, tone)


def _accuracy(outcome: Json, reference: Json) -> Figure | None:
    return _quality("Accuracy", "accuracy", outcome, reference)


def _macro_f1(outcome: Json, reference: Json) -> Figure | None:
    return _quality("Macro F1", "f1_macro", outcome, reference)


def _flips(outcome: Json) -> Figure | None:
    if outcome.get("flip_rate") is None:
        return None
    ends = figures.percent_interval(outcome.get("intervals", {}).get("flip_rate"))
    test = outcome.get("against_reference", {}).get("mcnemar")
    worse = f"{test['only_first']} became wrong, {test['only_second']} right" if test else ""
    return Figure("Labels changed", figures.percent(outcome["flip_rate"]), worse, ends)


def size(outcome: Json, reference: Json) -> Figure | None:
    """The size against the reference's; None where one of them is not known."""
    found = _ratio(reference, outcome, "size_mb")
    was = f"was {figures.megabytes(reference.get('size_mb'))}"
    return None if found is None else _less("Size", figures.megabytes(outcome["size_mb"]), found, SIZES, was)


def rate(outcome: Json, reference: Json, choice: Json | None) -> Figure | None:
    """Both were measured in one evaluation; the interval is of the choice's rounds, where the outcome was in them."""
    found = _ratio(outcome, reference, "rows_per_second")
    if found is None:
        return None
    name = model_name(outcome)
    raced = next((each for each in (choice or {}).get("candidates", ()) if each["variant"] == name), None)
    was = f"was {figures.rate(reference['rows_per_second'])} in torch"
    if raced:
        ends = raced["rows_per_second"]
        was += f"; in the choice {figures.rate(ends['low'])} to {figures.rate(ends['high'])}"
    return Figure("Rows a second", figures.rate(outcome["rows_per_second"]), figures.times(found), was, _tone(found))


def _latency(outcome: Json, reference: Json) -> Figure | None:
    found = _ratio(reference, outcome, "p95_ms")
    was = f"was {figures.milliseconds(reference.get('p95_ms'))}"
    return None if found is None else _less("One text, p95", figures.milliseconds(outcome["p95_ms"]), found, TIMES, was)


SIZES = ("smaller", "of the same size", "larger")
TIMES = ("faster", "as fast", "slower")
NOTICED = 1.05
"""A ratio below which a difference is no matter."""


def _less(title: str, value: str, found: float, words: tuple[str, str, str], was: str) -> Figure:
    """A cost of which the reference has `found` times as much."""
    return Figure(title, value, _times(found, words), was, _tone(found))


def _times(found: float, words: tuple[str, str, str]) -> str:
    """How many times better, about as good, or how many times worse."""
    better, same, worse = words
    if found >= NOTICED:
        return f"{figures.times(found)} {better}"
    return same if found > 1 / NOTICED else f"{figures.times(1 / found)} {worse}"


def _tone(found: float) -> str:
    return "gain" if found >= NOTICED else "loss" if found < 1 / NOTICED else ""
