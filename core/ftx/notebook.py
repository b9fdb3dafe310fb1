"""How runs show themselves in Jupyter: plain tables, in the colours of whatever theme is around them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ftx.runs import RunRecord
from ftx.scoreboard import Row
from ftx.scoreboard_table import by_split, columns_of, title_of

Cell = tuple[str, bool]
"""A cell's text, and whether it is text: figures stand at the right."""


def run_html(record: RunRecord) -> str:
    """A run: how it ended, its scoreboard, its steps."""
    parts = [f"<p><b>run {escape(record.id)}</b>: {escape(record.status)}</p>"]
    if record.error:
        hints = "".join(f"<li>{escape(hint)}</li>" for hint in record.error.get("hints", ()))
        parts.append(f"<p>{escape(record.error['message'])}</p>" + (f"<ul>{hints}</ul>" if hints else ""))
    parts += [_scoreboard(split, rows) for split, rows in by_split([Row(**row) for row in record.scoreboard]).items()]
    parts.append(_steps(record))
    if record.artifact:
        parts.append(f"<p>{escape(record.artifact['kind'])} <code>{escape(record.artifact['path'])}</code></p>")
    return "".join(parts)


def _scoreboard(split: str, rows: Sequence[Row]) -> str:
    columns = columns_of(rows)
    head = [(title_of(column, rows), column.is_text) for column in columns]
    body = [[(column.cell(row), column.is_text) for column in columns] for row in rows]
    return _table(f"{split} split, {rows[0].rows} rows", head, body)


def _steps(record: RunRecord) -> str:
    head = [("step", True), ("seconds", False), ("made", True)]
    body = [
        [
            (step["step"], True),
            ("hit" if step["cached"] else f"{step['seconds']:.1f}", False),
            ((step["artifact"] or {}).get("digest", "")[:12], True),
        ]
        for step in record.steps
    ]
    return f"<details><summary>{len(body)} steps</summary>{_table('', head, body)}</details>"


def _table(caption: str, head: Sequence[Cell], body: Iterable[Sequence[Cell]]) -> str:
    titles = "".join(_cell("th", cell) for cell in head)
    lines = "".join(f"<tr>{''.join(_cell('td', cell) for cell in row)}</tr>" for row in body)
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{named}<thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>"


def _cell(tag: str, cell: Cell) -> str:
    text, is_text = cell
    return f'<{tag} style="text-align: {"left" if is_text else "right"}">{escape(text)}</{tag}>'
