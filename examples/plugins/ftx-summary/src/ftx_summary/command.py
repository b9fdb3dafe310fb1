"""`ftx summary`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ftx import FtxError
from ftx.cli.options import config_option, open_store, read_config
from ftx.runs import RunRecord, list_runs

COLUMNS: Mapping[str, str] = {
    "model": "model",
    "split": "split",
    "accuracy": "accuracy",
    "f1_macro": "macro F1",
    "calibration_error": "calibration error",
    "flip_rate": "flips",
    "p50_ms": "median, ms",
    "size_mb": "MB",
}
"""Figure -> heading."""


@click.command()
@click.argument("run", required=False)
@click.option("--format", "form", type=click.Choice(["markdown", "csv"]), default="markdown", show_default=True)
@config_option
def summary(run: str | None, form: str, config_path: Path | None) -> None:
    """Print a run (its ID, or the beginning of it) as a table; without RUN the last one."""
    record = find_run(run, list_runs(open_store(read_config(config_path))))
    rows = list(rows_of(record))
    if not rows:
        raise FtxError(f"the run {record.id} has evaluated nothing", "run some steps: ftx run train quantize export")
    click.echo(as_csv(rows) if form == "csv" else as_markdown(record, rows))


def find_run(wanted: str | None, runs: Iterator[RunRecord]) -> RunRecord:
    """The newest run, or the one whose ID begins with `wanted`."""
    found = next((record for record in runs if record.id.startswith(wanted or "")), None)
    if found is None:
        what = f"no run {wanted} here" if wanted else "no run here yet"
        raise FtxError(f"there is {what}", "list what there is: ftx runs")
    return found


def rows_of(record: RunRecord) -> Iterator[dict[str, Any]]:
    """A row for each model that the run evaluated, with whatever the metrics of all plugins said of it."""
    measured = [
        model | {"split": step["metrics"]["split"]}
        for step in record.steps
        if step["step"].startswith("evaluate:")
        for model in step["metrics"].get("models", ())
    ]
    for row, figures in zip(record.scoreboard, measured, strict=True):
        name = row["step"] if row["variant"] is None else f"{row['step']} {row['variant']}"
        yield {**{column: figures.get(column, row.get(column)) for column in COLUMNS}, "model": name}


def as_markdown(record: RunRecord, rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"Run {record.id}: `{' '.join(record.words)}`, {record.status}", ""]
    lines += ["| " + " | ".join(COLUMNS.values()) + " |", "|---" * len(COLUMNS) + "|"]
    lines += ["| " + " | ".join(shown(row[column]) for column in COLUMNS) + " |" for row in rows]
    return "\n".join(lines)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def shown(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
