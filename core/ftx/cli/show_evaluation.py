"""What `ftx show` says of an evaluation: how sure each figure is, where it is worst, and which rows changed."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ftx.artifacts import Evaluation
from ftx.console import FULL_WIDTH
from ftx.scoreboard import model_name
from ftx.tasks import FIGURES, IN_UNITS

WORST = 5
"""How many slices of each kind are shown."""
NUMBERS = {"row": int, "margin_before": float, "margin_after": float}


def read_flips(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """The rows of `flips.csv`: text, label, the labels `before` and `after`, the margins, the variant."""
    path = evaluation.path / "flips.csv"
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            for flip in csv.DictReader(file):
                yield {name: NUMBERS.get(name, str)(value) for name, value in flip.items()}


def show_evaluation(evaluation: Evaluation, flips: int) -> None:
    """Tables on stdout: metrics with intervals, the difference from the reference, slices, batches, changed rows."""
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, highlight=False, width=FULL_WIDTH)
    metrics = evaluation.manifest.metrics
    models: Sequence[Mapping[str, Any]] = metrics.get("models", ())
    if "bootstrap" in metrics:
        confidence = f"{metrics['bootstrap']['confidence']:.0%} bootstrap intervals"
        console.print(escape(f"\n{metrics['split']} split, {metrics['rows']} rows; in brackets {confidence}"))
        console.print(_quality(models))
        compared = [model for model in models if "against_reference" in model]
        if compared:
            console.print(_differences(compared))
        for kind, title in (("classes", "by label"), ("lengths", "by length in tokens, in quartiles")):
            if any(model[kind] for model in models):  # a regression has no labels, and no row is right or wrong
                console.print(_slices(models, kind, f"{title}, the worst first"))
        tried = [model for model in models if "invariance" in model]
        if tried:
            console.print(_batches(tried))
    _print_flips(console, evaluation, flips)


def _quality(models: Sequence[Mapping[str, Any]]) -> Table:
    figures = _figures(models)
    calibrated = ("calibration error", "without temperature") if "ece" in models[0] else ()
    table = _table("quality", "model", *figures.values(), *calibrated)
    for model in models:
        intervals = model["intervals"]
        cells = [_with_interval(model[name], intervals.get(name)) for name in figures]
        if calibrated:
            cells.append(_with_interval(model["ece"], intervals.get("ece")))
            scaled = model["temperature"] != 1
            cells.append(_with_interval(model["ece_unscaled"], intervals["ece_unscaled"]) if scaled else "–")
        table.add_row(_name(model), *cells)
    return table


def _figures(models: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Metric -> title, of those that the task has."""
    has_one_label = "accuracy" in models[0]
    # With one label a row, micro F1 is the accuracy.
    return {
        name: title
        for name, title in FIGURES.items()
        if name in models[0] and not (name == "f1_micro" and has_one_label)
    }


def _differences(models: Sequence[Mapping[str, Any]]) -> Table:
    figures = _figures(models)
    tested = ("right → wrong", "wrong → right", "McNemar p", "verdict", "rows to tell")
    has_test = "mcnemar" in models[0]["against_reference"]
    titles = [title if name in IN_UNITS else f"{title}, points" for name, title in figures.items()]
    table = _table("against the reference", "model", *titles, *(tested if has_test else ()))
    for model in models:
        against = model["against_reference"]
        changes = [_change(against.get(name), 1 if name in IN_UNITS else 100) for name in figures]
        if not has_test:
            table.add_row(_name(model), *changes)
            continue
        test = against["mcnemar"]
        counts = (str(test["only_first"]), str(test["only_second"]), f"{test['p_value']:.2g}")
        needed = f"≈{against['rows_needed']}" if against["rows_needed"] else "–"
        table.add_row(_name(model), *changes, *counts, against["verdict"], needed)
    return table


def _slices(models: Sequence[Mapping[str, Any]], kind: str, title: str) -> Table:
    table = _table(title, "model", "slice", "rows", "accuracy", "change, points", "flips")
    for model in models:
        if model.get("flips") == 0 and "against_reference" in model:
            continue  # the reference's labels, so the reference's slices
        for place, entry in enumerate(model[kind][:WORST]):
            change = (
                {"difference": entry["change"], "interval": entry["change_interval"]} if "change" in entry else None
            )
            cells = (str(entry["rows"]), _with_interval(entry["accuracy"], entry["interval"]), _change(change))
            table.add_row("" if place else _name(model), escape(entry["slice"]), *cells, str(entry.get("flips", "–")))
    return table


def _batches(models: Sequence[Mapping[str, Any]]) -> Table:
    rows = models[0]["invariance"]["rows"]
    table = _table(
        f"what a text is sent with: labels changed of {rows}, and the largest change of a logit",
        "model",
        "padded right",
        "padded left",
        "random batches",
        "same call again",
        "depends on its batch",
    )
    for model in models:
        tried = model["invariance"]
        worst = max(tried["random_batches"], key=lambda found: (found["flips"], found["spread"]))
        deviations = (tried["padded_right"], tried["padded_left"], worst)
        cells = [f"{found['flips']}  {found['spread']:.1e}" for found in deviations]
        verdict = "no" if model["batch_invariant"] else f"yes ({model['batch_flip_rate']:.1%} of labels)"
        table.add_row(_name(model), *cells, f"{tried['repeated_spread']:.1e}", verdict)
    return table


def _print_flips(console: Console, evaluation: Evaluation, count: int) -> None:
    shown = list(islice(read_flips(evaluation), count))
    if not shown:
        console.print("no row changed its label against the reference")
        return
    console.print("rows whose label changed, the largest change first", style="bold")
    for flip in shown:
        variant = f"{flip['variant']}: " if flip["variant"] else ""
        verdict = {flip["before"]: "now wrong", flip["after"]: "now right"}.get(flip["label"], "wrong before too")
        change = f"{variant}{flip['before']} → {flip['after']} (label {flip['label']}, {verdict})"
        console.print(escape(f"  {change}"), style="yellow")
        console.print(escape(f"    {flip['text'][:160]}"), soft_wrap=True)
    console.print(escape(f"all of them: {evaluation.path}/flips.csv, negative_flips.csv"), soft_wrap=True)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", overflow="fold")
    return table


def _name(model: Mapping[str, Any]) -> str:
    return escape(model_name(model))


def _with_interval(value: float, ends: Sequence[float] | None) -> str:
    """In brackets, which rich would take for markup."""
    return escape(f"{value:.4f} [{ends[0]:.4f}, {ends[1]:.4f}]" if ends else f"{value:.4f}")


def _change(found: Mapping[str, Any] | None, times: int = 100) -> str:
    """A difference with its interval, in hundredths, or as it is."""
    if found is None:
        return "–"
    figures = [times * value for value in (found["difference"], *(found["interval"] or ()))]
    figure, *ends = (f"{value:+.2f}" if round(value, 2) else "0.00" for value in figures)
    return escape(f"{figure} [{', '.join(ends)}]" if ends else figure)
