"""`ftx report`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from ftx.cli.completing import complete_runs
from ftx.cli.options import config_option, json_option, open_store, print_json, read_config
from ftx.errors import FtxError
from ftx.reporting import find_records
from ftx.step import load_by_name
from ftx.store import write_atomically

REPORT = "report.html"


@click.command()
@click.argument("runs", metavar="[RUN]...", nargs=-1, shell_complete=complete_runs)
@config_option
@json_option
@click.option(
    "--out", type=click.Path(path_type=Path), help="The file to write.  [default: report.html; with --md, stdout]"
)
@click.option("--md", "markdown", is_flag=True, help="Markdown, for a pull request's comment.")
def report(runs: tuple[str, ...], config_path: Path | None, as_json: bool, out: Path | None, markdown: bool) -> None:
    """Show what RUN lost and gained, as one page of HTML that opens offline; several runs side by side.

    RUN is a run's ID, the beginning of one, or latest; without it the newest run that measured something. The page
    holds the headline with intervals, the scoreboard, what became of the labels (with the texts of changed rows),
    training, pruning, quantization, the data, each setting with its source, and the lineage.
    """
    store = open_store(read_config(config_path))
    records = find_records(runs, store, _with_file(out))
    text: str = load_by_name(f"ftx_plugins.report.{'markdown' if markdown else 'page'}:render")(records, store)
    path = out or (None if markdown else Path(REPORT))
    if path is not None:
        _write(path, text)
    names = [record.id for record in records]
    if as_json:
        print_json({"runs": names, "path": path and path.resolve()} | ({"markdown": text} if path is None else {}))
    elif path is None:
        click.echo(text, nl=False)
    else:
        click.echo(f"{path}: {len(text.encode()) / 1000:.0f} kB, {', '.join(names)}; open it in a browser")


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as error:
        raise FtxError(f"{path} cannot be written: {error.strerror}", "name another file: --out FILE") from error


def _with_file(out: Path | None) -> Iterator[tuple[str, str]]:
    if out is not None and out.is_dir():
        yield f"{out} is a folder", f"name a file in it: --out {out / REPORT}"
    elif out is not None and not out.parent.is_dir():
        yield f"the folder {out.parent} does not exist", f"make it: mkdir -p {out.parent}"
