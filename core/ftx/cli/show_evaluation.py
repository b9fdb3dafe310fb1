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

FULL_WIDTH = 140
"""Characters that a table may take where there is no terminal."""
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
            console.print(_slices(models, kind, f"{title}, the worst first"))
        tried = [model for model in models if "invariance" in model]
        if tried:
            console.print(_batches(tried))
    _print_flips(console, evaluation, flips)


def _quality(models: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("quality", "model", "accuracy", "macro F1", "calibration error", "without temperature")
    for model in models:
        intervals = model["intervals"]
        scaled = model["temperature"] != 1
        table.add_row(
            _name(model),
            *(_with_interval(model[name], intervals.get(name)) for name in ("accuracy", "f1_macro", "ece")),
            _with_interval(model["ece_unscaled"], intervals["ece_unscaled"]) if scaled else "–",
        )
    return table


def _differences(models: Sequence[Mapping[str, Any]]) -> Table:
    table = _table(
        "against the reference",
        "model",
        "accuracy",
        "macro F1",
        "right → wrong",
        "wrong → right",
        "McNemar p",
        "verdict",
    )
    for model in models:
        against = model["against_reference"]
        test = against["mcnemar"]
        needed = against["rows_needed"]
        verdict = against["verdict"] + (f" (≈{needed} rows would)" if needed else "")
        changes = [
            _with_interval(found["difference"], found["interval"], sign="+") if found else "–"
            for found in (against.get("accuracy"), against.get("f1_macro"))
        ]
        counts = (str(test["only_first"]), str(test["only_second"]), f"{test['p_value']:.2g}")
        table.add_row(_name(model), *changes, *counts, verdict)
    return table


def _slices(models: Sequence[Mapping[str, Any]], kind: str, title: str) -> Table:
    table = _table(title, "model", "slice", "rows", "accuracy", "change", "flips")
    for model in models:
        for place, entry in enumerate(model[kind][:WORST]):
            change = _with_interval(entry["change"], entry["change_interval"], sign="+") if "change" in entry else "–"
            cells = (str(entry["rows"]), _with_interval(entry["accuracy"], entry["interval"]), change)
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
    return escape(model.get("step") or model["variant"] or "torch")


def _with_interval(value: float, ends: Sequence[float] | None, sign: str = "") -> str:
    """In brackets, which rich would take for markup."""
    figure = f"{value:{sign}.4f}"
    return escape(f"{figure} [{ends[0]:{sign}.4f}, {ends[1]:{sign}.4f}]" if ends else figure)
