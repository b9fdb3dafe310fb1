"""What became of the labels: against the reference, by label, by length, by confidence, and row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ftx.scoreboard import model_name
from ftx_plugins.report import figures
from ftx_plugins.report.charts import Series, reliability
from ftx_plugins.report.gather import Evaluated, RunSeen
from ftx_plugins.report.rows import confusion
from ftx_plugins.report.rows import reliability as bins_of

Json = Mapping[str, Any]
MOST_LABELS = 14
"""Above which a confusion matrix is no longer legible, and the largest confusions are listed."""
MOST_CONFUSIONS = 15
MOST_FLIPS = 400
"""Rows that a report holds; all of them are in flips.csv."""


@dataclass(frozen=True)
class Whisker:
    """A figure with its interval on a common scale; `at`, `low` and `high` are places on it, from 0 to 100."""

    name: str
    text: str
    detail: str
    at: float
    low: float
    high: float
    zero: float
    tone: str = ""
    rows: int | None = None


@dataclass(frozen=True)
class Difference:
    """One model against the reference."""

    name: str
    accuracy: str
    accuracy_interval: str
    f1: str
    f1_interval: str
    became_wrong: int
    became_right: int
    p_value: str
    verdict: str
    rows_needed: str
    outcome: bool


def differences(run: RunSeen) -> list[Difference]:
    """The models of the final evaluation against the reference."""
    if run.final is None:
        return []
    return [
        _difference(model, outcome=model is run.outcome) for model in run.final.models if "against_reference" in model
    ]


def _difference(model: Json, *, outcome: bool) -> Difference:
    against = model["against_reference"]
    test = against["mcnemar"]
    f1 = against.get("f1_macro") or {}
    return Difference(
        name=model_name(model),
        accuracy=figures.points(against["accuracy"]["difference"], 2),
        accuracy_interval=figures.points_interval(against["accuracy"].get("interval"), 2),
        f1=figures.points(f1.get("difference"), 2),
        f1_interval=figures.points_interval(f1.get("interval"), 2),
        became_wrong=test["only_first"],
        became_right=test["only_second"],
        p_value=f"{test['p_value']:.2g}",
        verdict=against["verdict"],
        rows_needed=f"≈ {against['rows_needed']:,}" if against.get("rows_needed") else figures.NONE,
        outcome=outcome,
    )


def slices(run: RunSeen, kind: str) -> list[Whisker]:
    """The change of accuracy in each slice of `kind`, `classes` or `lengths`, in points; of the outcome."""
    found = [each for each in (run.outcome or {}).get(kind, ()) if "change" in each]
    if kind == "lengths":
        found = sorted(found, key=lambda each: int(str(each["slice"]).partition("-")[0] or 0))
    ends = [end for each in found for end in (each["change"], *(each.get("change_interval") or ()))]
    return [_change(each, max([abs(end) for end in ends] or [0.0]) or 0.01) for each in found]


def _change(entry: Json, reach: float) -> Whisker:
    low, high = entry.get("change_interval") or (entry["change"], entry["change"])
    detail = f"{figures.percent(entry['accuracy'])} right now; change {figures.points_interval((low, high))}"
    tone = "loss" if high < 0 else "gain" if low > 0 else ""
    at, start, end = (round(50 + 50 * value / reach, 2) for value in (entry["change"], low, high))
    text = figures.points(entry["change"])
    return Whisker(str(entry["slice"]), text, detail, at, start, end, zero=50, tone=tone, rows=entry["rows"])


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix: `cells[actual][predicted]` is (rows, share of the label's rows in percent)."""

    name: str
    labels: tuple[str, ...]
    cells: tuple[tuple[tuple[int, float], ...], ...]
    largest: tuple[tuple[str, str, int, str], ...]
    """Label, predicted label, rows, their share of the label's rows: the largest confusions, where there are many
    labels."""


def confusions(run: RunSeen) -> list[Confusion]:
    """Of the reference and of the outcome, on the rows of the final evaluation."""
    final = run.final
    if final is None:
        return []
    shown = [model for model in (run.reference, run.outcome) if model is not None and model in final.models]
    found = []
    for model in {model_name(model): model for model in shown}.values():
        counts = confusion(final.kept, model)
        if counts is not None and len(counts) == len(final.labels):
            found.append(_confusion(model_name(model), final.labels, counts))
    return found


def _confusion(name: str, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Confusion:
    shares = [[100 * count / max(1, sum(row)) for count in row] for row in counts]
    cells = tuple(
        tuple((count, round(share, 1)) for count, share in zip(row, own, strict=True))
        for row, own in zip(counts, shares, strict=True)
    )
    wrong = [
        (labels[actual], labels[predicted], count, figures.percent(shares[actual][predicted] / 100))
        for actual, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if actual != predicted and count
    ]
    largest = tuple(sorted(wrong, key=lambda each: -each[2])[:MOST_CONFUSIONS]) if len(labels) > MOST_LABELS else ()
    return Confusion(name, tuple(labels), cells, largest)


@dataclass(frozen=True)
class Calibration:
    chart: Markup
    lines: tuple[str, ...]
    """What the colours are, in order."""
    errors: tuple[tuple[str, str, str], ...]
    """Model, expected calibration error, interval."""


def calibration(run: RunSeen) -> Calibration | None:
    """Confidence of the outcome: as its logits are, and divided by its temperature, where it has one."""
    final, outcome = run.final, run.outcome
    if final is None or outcome is None or "ece" not in outcome:
        return None
    temperature = float(outcome.get("temperature") or 1.0)
    intervals = outcome.get("intervals", {})
    scaled = f"at temperature {temperature:.3g}"
    rows = [("as trained", outcome["ece_unscaled"], intervals.get("ece_unscaled"), 1.0)]
    if temperature != 1:
        rows.append((scaled, outcome["ece"], intervals.get("ece"), temperature))
    lines = []
    for name, _, _, divisor in rows:
        bins = bins_of(final.kept, outcome, temperature=divisor)
        if bins:
            lines.append(Series(name, [(each.confidence, each.accuracy) for each in bins]))
    if not lines:
        return None
    errors = tuple((name, figures.plain(error), figures.interval(ends)) for name, error, ends, _ in rows)
    return Calibration(reliability(lines), tuple(line.name for line in lines), errors)


@dataclass(frozen=True)
class Flip:
    """A row whose label changed, in one or several variants."""

    row: str
    text: str
    text_pair: str
    label: str
    before: str
    after: str
    kind: str
    """`wrong`: became wrong; `right`: became right; `other`: is wrong as before."""
    margins: str
    variants: tuple[str, ...]


@dataclass(frozen=True)
class Flips:
    shown: tuple[Flip, ...]
    total: int
    split: str
    path: str
    variants: tuple[str, ...]


def flips(run: RunSeen) -> Flips | None:
    """The changed rows of the final evaluation, what became wrong first, then the largest margins."""
    final = run.final
    if final is None or final.evaluation is None:
        return None
    grouped = sorted(_grouped(final), key=lambda each: ("wrong", "right", "other").index(each.kind))
    names = tuple(dict.fromkeys(name for each in grouped for name in each.variants))
    path = final.evaluation.path / "flips.csv"
    return Flips(tuple(grouped[:MOST_FLIPS]), len(grouped), final.split, str(path), names)


def _grouped(final: Evaluated) -> Iterator[Flip]:
    """A row that changed alike in several variants is one entry, in the order of the file (largest change first)."""
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for flip in final.flips:
        groups.setdefault((flip["row"], flip["before"], flip["after"]), []).append(flip)
    for (row, before, after), own in groups.items():
        first = own[0]
        kind = {before: "wrong", after: "right"}.get(first["label"], "other")
        margins = f"margin {float(first['margin_before']):.2f} before, {float(first['margin_after']):.2f} after"
        names = tuple(dict.fromkeys(each["variant"] or "torch" for each in own))
        pair = first.get("text_pair", "")
        yield Flip(row, first["text"], pair, first["label"], before, after, kind, margins, names)
