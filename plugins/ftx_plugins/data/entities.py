"""Entities of a text as spans of characters: read, checked, and in one form for equal sets. Light.

A span is `{"start", "end", "label"}`, in characters of the text, the end exclusive.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeGuard

from ftx.errors import FtxError

Span = tuple[int, int, str]
"""Start and end in characters, and the type of the entity."""
FORM = 'write {"start": 0, "end": 5, "label": "PER"}: places in characters of the text, the end exclusive'


def read_spans(text: str, cell: Any, where: str) -> list[Span]:
    """The spans that `cell` (a list of objects, or one as JSON) gives for `text`, in order; `where` names the row.

    White space at the ends of a span is left out. Raises `FtxError` for what is no span, lies outside the text, covers
    nothing, or overlaps another.
    """
    spans = sorted(_span(text, entity, where) for entity in _listed(cell, where))
    for (start, end, label), (next_start, next_end, next_label) in pairwise(spans):
        if next_start < end:
            raise FtxError(
                f"{where}: the entities {label} [{start}:{end}] and {next_label} [{next_start}:{next_end}] overlap: "
                f"{text[start:end][:40]!r}, {text[next_start:next_end][:40]!r}",
                "keep one of the two: a word has one tag",
            )
    return spans


def write_spans(spans: Sequence[Span]) -> str:
    """The same spans as the same string."""
    return json.dumps([list(span) for span in spans], ensure_ascii=False)


def as_cell(spans: Sequence[Span]) -> str:
    """Spans as a file would hold them, in JSON."""
    return json.dumps([{"start": start, "end": end, "label": label} for start, end, label in spans], ensure_ascii=False)


def _listed(cell: Any, where: str) -> list[Any]:
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except ValueError:
            cell = None
    if not isinstance(cell, list):
        raise FtxError(f"{where}: the entities are no list", FORM, "an empty list says that there are none")
    return cell


def _span(text: str, entity: Any, where: str) -> Span:
    fields: dict[str, Any] = entity if isinstance(entity, dict) else {}
    start, end, label = fields.get("start"), fields.get("end"), fields.get("label")
    if not _is_place(start) or not _is_place(end) or not isinstance(label, str) or not label.strip():
        raise FtxError(f"{where}: {json.dumps(entity, ensure_ascii=False)[:80]} is no entity", FORM)
    if not 0 <= start < end <= len(text):
        raise FtxError(
            f"{where}: the entity {label} [{start}:{end}] is not within the text, which has {len(text)} characters",
            "count characters, not bytes or tokens, from 0",
        )
    covered = text[start:end]
    if not covered.strip():
        raise FtxError(f"{where}: the entity {label} [{start}:{end}] covers white space alone", FORM)
    return start + len(covered) - len(covered.lstrip()), end - len(covered) + len(covered.rstrip()), label.strip()


def _is_place(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
