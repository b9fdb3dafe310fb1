"""A report as Markdown for a pull request's comment: the headline, its figures, the variants, and what went wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ftx.runs import RunRecord
from ftx.store import Store
from ftx_plugins.report import scores
from ftx_plugins.report.beside import Beside, beside
from ftx_plugins.report.gather import RunSeen, gather
from ftx_plugins.report.headline import headline

ARROWS = {"gain": "▲ ", "loss": "▼ "}


def render(records: Sequence[RunRecord], store: Store) -> str:
    """The Markdown of these runs, side by side first where there are several. It holds no text of the data."""
    runs = [gather(record, store) for record in records]
    lines: list[str] = []
    together = beside(runs)
    if together is not None:
        lines += [*_beside(together), ""]
    for run in runs:
        lines += [*_run(run, level=2 if together is None else 3), ""]
    return "\n".join(lines).rstrip() + "\n"


def _run(run: RunSeen, level: int) -> Iterator[str]:
    said = headline(run)
    yield f"{'#' * level} {_plain(said.sentence)}"
    yield ""
    yield f"{_plain(said.about)}. Run `{run.record.id}`: `ftx run {' '.join(run.record.words)}`."
    if run.record.error:
        yield ""
        yield from (f"> {_plain(line)}  " for line in str(run.record.error["message"]).splitlines())
    if said.figures:
        yield ""
        yield from _table(
            ("", "now", "change", ""),
            [
                (each.name, f"**{each.value}**", f"{ARROWS.get(each.tone, '')}{each.change}", each.detail)
                for each in said.figures
            ],
            right=(1,),
        )
    for board in scores.boards(run):
        yield from ("", "<details>", f"<summary>{board.split} split, {board.rows:,} rows</summary>", "")
        yield from _table(("step", "model", *scores.COLUMNS), [_line(line) for line in board.lines], right=range(2, 10))
        yield from ("", "</details>")


def _line(line: scores.Line) -> tuple[str, ...]:
    name = f"**{line.variant}**" if line.outcome else line.variant
    if line.beyond:
        name += f" (beyond {', '.join(line.beyond)})"
    return (line.step, name, *(f"{figure} ({ends})" if ends else figure for figure, ends in line.cells))


def _beside(together: Beside) -> Iterator[str]:
    yield f"## {len(together.runs)} runs, side by side"
    yield ""
    titles = ("", *(f"`{identity}`" for identity in together.runs))
    yield from _table(
        titles,
        [
            (title, *(f"{text} ({detail})" if detail else text for text, detail in cells))
            for title, cells in together.lines
        ],
    )
    if together.settings:
        yield from ("", "<details>", "<summary>What differs</summary>", "")
        yield from _table(titles, [(name, *cells) for name, cells in together.settings])
        yield from ("", "</details>")


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield "|" + "|".join("---:" if place in right else "---" for place in range(len(titles))) + "|"
    for row in rows:
        yield f"| {' | '.join(cell if cell[:2] == '**' else _plain(cell) for cell in row)} |"


def _plain(text: str) -> str:
    """Text that Markdown reads as nothing but text, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(text.split()))
