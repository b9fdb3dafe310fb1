"""`ftx cache`."""

from __future__ import annotations

from pathlib import Path

import click

from ftx.artifacts import Artifact
from ftx.cli.options import config_option, json_option, open_store, print_json, read_config
from ftx.collection import collect, verify_all
from ftx.errors import ExitCode, FtxError
from ftx.store import Store


@click.group()
def cache() -> None:
    """List, clean and check the store: what runs made, kept under the hash of its content."""


@cache.command("ls")
@config_option
@json_option
def list_artifacts(config_path: Path | None, as_json: bool) -> None:
    """List the artifacts, the newest first."""
    store = open_store(read_config(config_path))
    found, damaged = _open_all(store)
    found.sort(key=lambda artifact: artifact.manifest.created, reverse=True)
    for message in damaged:
        click.secho(f"warning: {message}", fg="yellow", err=True)
    if as_json:
        print_json(
            [
                {
                    "digest": artifact.digest,
                    "kind": artifact.manifest.kind,
                    "step": artifact.manifest.step,
                    "created": artifact.manifest.created,
                    "bytes": sum(entry.size for entry in artifact.manifest.files.values()),
                    "path": str(artifact.path),
                }
                for artifact in found
            ]
        )
        return
    for artifact in found:
        manifest = artifact.manifest
        size = sum(entry.size for entry in manifest.files.values()) / 1e6
        click.echo(
            f"{artifact.digest[:12]}  {manifest.kind:<10}  {manifest.step:<20}  {size:9.1f} MB  {manifest.created}"
        )
    click.echo(f"{len(found)} artifacts in {store.root}")


def _open_all(store: Store) -> tuple[list[Artifact], list[str]]:
    """Every artifact that can be opened, and what is wrong with the others."""
    found, damaged = [], []
    for digest in store.digests():
        try:
            found.append(store.open(digest))
        except FtxError as error:
            damaged.append(error.message)
    return found, damaged


@cache.command()
@config_option
@json_option
@click.option("--keep", default=10, show_default=True, type=click.IntRange(min=0), help="Keep what the last runs made.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and delete nothing.")
def gc(config_path: Path | None, as_json: bool, keep: int, dry_run: bool) -> None:
    """Delete what none of the last runs made or can resume from. What a run is using now stays."""
    removed = collect(open_store(read_config(config_path)), keep, dry_run=dry_run)
    total = sum(item.size for item in removed)
    if as_json:
        print_json({"removed": [vars(item) for item in removed], "bytes": total, "dry_run": dry_run})
        return
    for item in removed:
        click.echo(f"{item.what:<12} {item.name[:12]}  {item.size / 1e6:9.1f} MB")
    click.echo(f"{'would free' if dry_run else 'freed'} {total / 1e6:.1f} MB")


@cache.command()
@config_option
@json_option
@click.pass_context
def verify(context: click.Context, config_path: Path | None, as_json: bool) -> None:
    """Check every byte of every artifact, and every key; exit code 1 if something is damaged."""
    store: Store = open_store(read_config(config_path))
    checked, damaged = verify_all(store)
    if as_json:
        print_json({"checked": checked, "damaged": damaged})
    else:
        for message in damaged:
            click.secho(message, fg="red")
        click.echo(f"{checked} artifacts checked, {len(damaged)} damaged")
        if damaged:
            click.echo("  → run the same steps again: what is damaged is made anew")
    context.exit(int(ExitCode.STEP_FAILED) if damaged else 0)
