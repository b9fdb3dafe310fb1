"""`ftx report`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click

from ftx.cli.completing import complete_runs
from ftx.cli.options import config_option, json_option, open_store, print_json, read_config
from ftx.errors import FtxError
from ftx.runs import LATEST, RunRecord, list_runs
from ftx.step import load_by_name
from ftx.store import Store, write_atomically

REPORT = "report.html"
NEEDS = ("jinja2", "numpy")
NEEDS_TO_COMPARE = ("scipy", "sklearn")


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
    records = _find(runs, out, store)
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


def _find(wanted: tuple[str, ...], out: Path | None, store: Store) -> list[RunRecord]:
    """The runs that are named, each once, in this order. `FtxError` names every problem with what was asked for."""
    known = {record.id: record for record in list_runs(store)}
    if not known:
        raise FtxError(f"there are no runs in {store.root}", "start one: ftx run train quantize export")
    found: dict[str, RunRecord] = {}
    problems = []
    for name in wanted or (LATEST,):
        matches = [_latest(known)] if name == LATEST else [each for each in known if name and each.startswith(name)]
        if len(matches) == 1:
            found[matches[0]] = known[matches[0]]
        elif matches:
            problems.append((f"{name} is the beginning of several runs: {', '.join(matches[:5])}", "give more of it"))
        else:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
            said = f"there is no run {name}" + (f" (did you mean {near[0]}?)" if near else "")
            problems.append((said, "list the runs: ftx runs"))
    problems += [*_with_file(out), *_with_installation(len(found))]
    if problems:
        raise FtxError("; ".join(said for said, _ in problems), *dict.fromkeys(hint for _, hint in problems))
    return list(found.values())


def _latest(known: dict[str, RunRecord]) -> str:
    """The newest run that measured something, or else the newest."""
    return next((identity for identity, record in known.items() if record.scoreboard), next(iter(known)))


def _with_file(out: Path | None) -> Iterator[tuple[str, str]]:
    if out is not None and out.is_dir():
        yield f"{out} is a folder", f"name a file in it: --out {out / REPORT}"
    elif out is not None and not out.parent.is_dir():
        yield f"the folder {out.parent} does not exist", f"make it: mkdir -p {out.parent}"


def _with_installation(runs: int) -> Iterator[tuple[str, str]]:
    needed = (*NEEDS, *(NEEDS_TO_COMPARE if runs > 1 else ()))
    if missing := [name for name in needed if find_spec(name) is None]:
        yield f"a report needs {', '.join(missing)}", "install them: pip install 'ftx-toolchain[report]'"
