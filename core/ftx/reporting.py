"""The report of runs from Python, and which runs a report is about."""

from __future__ import annotations

import difflib
import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ftx.errors import FtxError
from ftx.runs import LATEST, RunRecord, list_runs
from ftx.step import load_by_name
from ftx.store import Store, write_atomically

NEEDS = ("jinja2", "numpy")
NEEDS_TO_COMPARE = ("scipy", "sklearn")


@dataclass(frozen=True)
class Report:
    """Runs as one page of HTML that fetches nothing. In Jupyter it shows itself, in a frame of its own."""

    runs: tuple[str, ...]
    """The runs' IDs."""
    html: str

    def save(self, path: str | Path) -> Path:
        """Write the page to a file, and return its path."""
        write_atomically(Path(path), self.html)
        return Path(path)

    def _repr_html_(self) -> str:
        # A sandbox without `allow-same-origin`: what stands in the page cannot reach the notebook.
        style = "width: 100%; height: 50em; border: 1px solid #8888"
        page = html.escape(self.html)
        return f'<iframe srcdoc="{page}" sandbox="allow-scripts" title="ftx report" style="{style}"></iframe>'


def render_report(records: Sequence[RunRecord], store: Store) -> Report:
    """The report of runs that are in a store."""
    page: str = load_by_name("ftx_plugins.report.page:render")(records, store)
    return Report(tuple(record.id for record in records), page)


def find_records(wanted: Sequence[str], store: Store, problems: Iterable[tuple[str, str]] = ()) -> list[RunRecord]:
    """The runs that are named, each once, in this order; the newest that measured something, where none is.

    `problems` were found before, with a hint each. `FtxError` names these and all with what was asked for.
    """
    known = {record.id: record for record in list_runs(store)}
    if not known:
        raise FtxError(f"there are no runs in {store.root}", "start one: ftx run train quantize export")
    found: dict[str, RunRecord] = {}
    wrong = []
    for name in wanted or (LATEST,):
        matches = [_latest(known)] if name == LATEST else [each for each in known if name and each.startswith(name)]
        if len(matches) == 1:
            found[matches[0]] = known[matches[0]]
        elif matches:
            wrong.append((f"{name} is the beginning of several runs: {', '.join(matches[:5])}", "give more of it"))
        else:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
            said = f"there is no run {name}" + (f" (did you mean {near[0]}?)" if near else "")
            wrong.append((said, "list the runs: ftx runs"))
    wrong += [*problems, *_with_installation(len(found))]
    if wrong:
        raise FtxError("; ".join(said for said, _ in wrong), *dict.fromkeys(hint for _, hint in wrong))
    return list(found.values())


def _latest(known: dict[str, RunRecord]) -> str:
    """The newest run that measured something, or else the newest."""
    return next((identity for identity, record in known.items() if record.scoreboard), next(iter(known)))


def _with_installation(runs: int) -> Iterator[tuple[str, str]]:
    needed = (*NEEDS, *(NEEDS_TO_COMPARE if runs > 1 else ()))
    if missing := [name for name in needed if find_spec(name) is None]:
        yield f"a report needs {', '.join(missing)}", "install them: pip install 'ftx-toolchain[report]'"
