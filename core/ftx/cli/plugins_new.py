"""`ftx plugins new`."""

from __future__ import annotations

from pathlib import Path

import click

from ftx.scaffold.package import names_of, write_package


@click.command()
@click.argument("name")
@click.option(
    "--dir",
    "parent",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder in which the package's folder is made.  [default: this one]",
)
def new(name: str, parent: Path) -> None:
    """Write a package to start a plugin from: one step with settings, and tests that pass."""
    folder = write_package(name, parent)
    stage = names_of(name).stage
    click.echo(f"wrote {folder}: the step {stage}:round, its settings, its tests")
    click.echo(f"  → pip install -e '{folder}[test]'")
    click.echo(f"  → ftx steps show {stage}:round")
    click.echo(f"  → pytest {folder}")
