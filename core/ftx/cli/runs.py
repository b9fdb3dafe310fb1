"""`ftx runs`."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from pathlib import Path

import click

from ftx.cli.options import config_option, json_option, open_store, print_json, read_config
from ftx.runs import list_runs


@click.command()
@config_option
@json_option
@click.option("--last", default=20, show_default=True, help="How many to list.")
def runs(config_path: Path | None, as_json: bool, last: int) -> None:
    """List the project's runs, the newest first."""
    found = list(islice(list_runs(open_store(read_config(config_path))), last))
    if as_json:
        print_json([asdict(record) for record in found])
        return
    if not found:
        click.echo("no runs yet; start one: ftx run train quantize export")
    for record in found:
        hits = sum(step["cached"] for step in record.steps)
        digest = record.artifact["digest"][:12] if record.artifact else "–"
        steps = f"{len(record.steps)} steps, {hits} hits"
        click.echo(f"{record.id}  {record.status:<11}  {digest:<12}  {steps:<18}  {' '.join(record.words)}")
