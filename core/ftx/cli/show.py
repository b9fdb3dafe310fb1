"""`ftx show`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import click

from ftx.artifacts import Artifact, Evaluation
from ftx.cli.completing import complete_reference_or_run
from ftx.cli.options import config_option, json_option, open_store, print_json, read_config
from ftx.cli.show_evaluation import read_flips, show_evaluation
from ftx.console import cross_validation_lines, print_scoreboard
from ftx.runs import RunRecord, find_artifact, find_run
from ftx.scoreboard import Row
from ftx.store import Store


@click.command()
@click.argument("reference", metavar="REF", shell_complete=complete_reference_or_run)
@config_option
@json_option
@click.option("--flips", default=20, show_default=True, help="How many changed rows of an evaluation to show.")
def show(reference: str, config_path: Path | None, as_json: bool, flips: int) -> None:
    """Show what REF is and how it was made: a folder, the beginning of a digest, latest, latest:STAGE, or a run's ID.

    Of an evaluation: each figure with its interval, the difference from the reference, the worst labels and lengths,
    what batches do, and the rows whose label changed, the largest changes first.
    """
    store = open_store(read_config(config_path))
    record = find_run(reference, store)
    if record is not None:
        _show_run(record, as_json)
        return
    artifact = find_artifact(reference, store)
    if as_json:
        document = json.loads(artifact.manifest.to_json()) | {"path": str(artifact.path)}
        if isinstance(artifact, Evaluation):
            document["flips"] = list(islice(read_flips(artifact), flips))
        print_json(document)
        return
    _show_artifact(artifact, store)
    if isinstance(artifact, Evaluation):
        show_evaluation(artifact, flips)


def _show_run(record: RunRecord, as_json: bool) -> None:
    if as_json:
        print_json(asdict(record))
        return
    click.echo(f"run {record.id}: {record.status}; {' '.join(record.words)}; {record.started}")
    for step in record.steps:
        how = "hit" if step["cached"] else f"{step['seconds']:.1f} s"
        digest = step["artifact"]["digest"][:12] if step["artifact"] else ""
        click.echo(f"  {step['step']:<22} {how:>9}  {digest}")
    if record.error:
        click.echo(f"error: {record.error['message']}")
    if record.scoreboard:
        print_scoreboard([Row(**row) for row in record.scoreboard])
    for line in cross_validation_lines(record.steps):
        click.echo(line)


def _show_artifact(artifact: Artifact, store: Store) -> None:
    manifest = artifact.manifest
    size = sum(entry.size for entry in manifest.files.values())
    click.echo(f"{manifest.kind} {artifact.digest}")
    click.echo(f"  path     {artifact.path}")
    click.echo(f"  made by  {manifest.step or 'nobody that ftx knows'} in {manifest.seconds:.1f} s, {manifest.created}")
    for name, digest in manifest.inputs.items():
        known = (store.objects / digest).is_dir()
        click.echo(f"  input    {name}: {digest[:12]}" + ("" if known else "  (given, or collected since)"))
    click.echo(f"  files    {len(manifest.files)}, {size / 1e6:.1f} MB")
    for name, entry in sorted(manifest.files.items(), key=lambda item: -item[1].size)[:8]:
        click.echo(f"    {entry.size / 1e6:9.2f} MB  {name}")
    # An evaluation's metrics are shown as tables.
    metrics = {} if isinstance(artifact, Evaluation) else manifest.metrics
    for title, values in (("settings", manifest.config), ("facts", manifest.meta), ("metrics", metrics)):
        if values:
            click.echo(title)
            for line in _lines(values):
                click.echo(f"  {line}")
    click.echo("versions")
    click.echo("  " + ", ".join(f"{name} {version}" for name, version in manifest.versions.items()))


def _lines(values: Mapping[str, Any], indent: str = "") -> list[str]:
    """Nested values, a line each; long lists are cut, and said to be."""
    lines: list[str] = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            lines.append(f"{indent}{name}:")
            lines += _lines(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            lines.append(f"{indent}{name}: {len(value)} entries")
            for item in value[:8]:
                flat = {key: inner for key, inner in item.items() if not isinstance(inner, Mapping | list)}
                lines.append(f"{indent}  " + ", ".join(f"{key} {_value(inner)}" for key, inner in flat.items()))
        else:
            lines.append(f"{indent}{name}: {_value(value)}")
    return lines


def _value(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 120 else f"{text[:117]}…"
