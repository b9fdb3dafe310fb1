"""Sentences out of `.conll` files: a token and its tag a line, an empty line between sentences.

Tag schemes are BIO and BILOU (also with the names of IOBES for the same). Sentences become texts with spans of
characters, as every other format gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa

from ftx.errors import FtxError
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.encoding import open_utf8
from ftx_plugins.data.entities import Span, as_cell
from ftx_serving.tags import BILOU, BIO, OUTSIDE, has_ends
from ftx_serving.words import is_cjk

DOCUMENT = "-DOCSTART-"
"""What CoNLL-2003 begins a document with; no token."""
IOBES = {"S": "U", "E": "L"}
BIO_PREFIXES = frozenset(BIO)
BILOU_PREFIXES = frozenset(BILOU)
FORMAT = "write a token, a tab and its tag a line, and an empty line between sentences"


@dataclass(frozen=True)
class Line:
    """A token with its tag."""

    number: int
    token: str
    prefix: str
    """`B`, `I`, `L`, `U`; empty outside of any entity."""
    type: str


def find_tags(path: Path, config: DataConfig) -> tuple[str, ...]:
    """All tags of a file, in order: what tells its scheme, before the first sentence is judged by it."""
    found = {f"{line.prefix}-{line.type}" for sentence in _sentences(path, config) for line in sentence if line.prefix}
    return tuple(sorted(found))


def is_bilou(config: DataConfig, tags: Sequence[str]) -> bool:
    """Whether the settings, or the tags that are there, say BILOU."""
    if config.scheme != "auto":
        return config.scheme == "bilou"
    return has_ends(tags)


def read_conll(path: Path, config: DataConfig, size: int, tags: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Batches of up to `size` sentences with the columns `text` and `label`; `tags` are those of the file, where no
    scheme is set.

    Raises `FtxError`, with the line, for one without a tag, an unknown prefix, and a broken sequence of tags.
    """
    check = _check_bilou if is_bilou(config, tags) else _check_bio
    rows = (as_text(sentence, check, path) for sentence in _sentences(path, config))
    while batch := list(islice(rows, size)):
        texts, spans = zip(*batch, strict=True)
        yield pa.RecordBatch.from_pydict(
            {"text": pa.array(texts, pa.string()), "label": pa.array(map(as_cell, spans), pa.string())}
        )


def as_text(
    sentence: Sequence[Line], check: Callable[[Sequence[Line], Path], None], path: Path
) -> tuple[str, list[Span]]:
    """The sentence as a text, and its entities."""
    check(sentence, path)
    text = ""
    spans: list[Span] = []
    for line in sentence:
        start = len(text) + len(space := _space_between(text, line.token))
        text += space + line.token
        if line.prefix in ("B", "U"):
            spans.append((start, len(text), line.type))
        elif line.prefix:
            spans[-1] = (spans[-1][0], len(text), line.type)
    return text, spans


def _space_between(text: str, token: str) -> str:
    return "" if not text or (is_cjk(text[-1]) and is_cjk(token[0])) else " "


def _sentences(path: Path, config: DataConfig) -> Iterator[list[Line]]:
    sentence: list[Line] = []
    columns = 0
    with open_utf8(path, config) as stream:
        for number, raw in enumerate(stream, 1):
            text = raw.decode().rstrip("\r\n")
            if not text.strip() or text.startswith(DOCUMENT):
                if sentence:
                    yield sentence
                sentence = []
                continue
            cells = _cells(text, number, path, config)
            columns = columns or len(cells)
            if len(cells) != columns:
                raise FtxError(
                    f"{path}, line {number}: {len(cells)} columns, and the lines before have {columns}: {text[:60]!r}",
                    FORMAT,
                    "a token that holds a space needs tabs between the columns",
                )
            sentence.append(_line(number, cells, path))
    if sentence:
        yield sentence


def _cells(text: str, number: int, path: Path, config: DataConfig) -> list[str]:
    """The columns of a line: the first is the token, the last the tag."""
    separator = config.separator or ("\t" if "\t" in text else None)
    cells = [cell.strip() for cell in text.split(separator)]
    if len(cells) < 2 or not cells[-1]:
        raise FtxError(f"{path}, line {number}: the token {cells[0]!r} has no tag", FORMAT)
    if not cells[0]:
        raise FtxError(f"{path}, line {number}: the tag {cells[-1]!r} has no token", FORMAT)
    return cells


def _line(number: int, cells: Sequence[str], path: Path) -> Line:
    tag = cells[-1]
    if tag == OUTSIDE:
        return Line(number, cells[0], "", "")
    prefix, _, kind = tag.partition("-")
    prefix = IOBES.get(prefix, prefix)
    if prefix not in BILOU_PREFIXES or not kind:
        raise FtxError(
            f"{path}, line {number}: the tag {tag!r} has no known prefix",
            f"tags are {OUTSIDE}, or B-, I- and a type (BIO), or also L- and U- (BILOU), such as B-PER",
        )
    return Line(number, cells[0], prefix, kind)


def _check_bio(sentence: Sequence[Line], path: Path) -> None:
    """Only B- and I-, and each I- behind a B- or I- of its type."""
    before = Line(0, "", "", "")
    for line in sentence:
        if line.prefix and line.prefix not in BIO_PREFIXES:
            raise FtxError(
                f"{path}, line {line.number}: the tag {line.prefix}-{line.type} is none of BIO",
                "read the file as BILOU: --set data.scheme=bilou",
            )
        if line.prefix == "I" and (not before.prefix or before.type != line.type):
            raise _broken(line, before, path, f"begin the entity with B-{line.type}")
        before = line


def _check_bilou(sentence: Sequence[Line], path: Path) -> None:
    """An entity of one word is U-; of several B-, perhaps I-, and L-, all of one type."""
    before = Line(0, "", "", "")
    for line in [*sentence, Line(sentence[-1].number, "", "", "")]:
        opened = before.prefix in ("B", "I")
        goes_on = line.prefix in ("I", "L")
        if opened != goes_on or (opened and before.type != line.type):
            where = before if opened and not goes_on else line
            how = (
                "end the entity with L-, or write U- for one word" if opened else f"begin the entity with B-{line.type}"
            )
            raise _broken(where, before, path, how)
        before = line


def _broken(line: Line, before: Line, path: Path, how: str) -> FtxError:
    tags = [f"{each.prefix}-{each.type}" if each.prefix else OUTSIDE for each in (before, line)]
    behind = f" behind {tags[0]}" if line is not before else ""
    return FtxError(f"{path}, line {line.number}: broken sequence of tags: {tags[1]}{behind} ({line.token!r})", how)
