"""What is sent: texts of a file, of a bundle's golden examples, of a length distribution, or a small set of our own."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ftx.errors import FtxError

TEXT_COLUMNS = ("text", "inputs", "sentence", "content", "review")
LABEL_COLUMNS = ("label", "labels", "sentiment", "class")
DRAWN = 512
"""Texts that are made up for a length distribution."""
MOST_WORDS = 100_000


@dataclass(frozen=True)
class Payloads:
    """The texts, and where they are known the labels that the reference gives them; both of the same length."""

    texts: tuple[str, ...]
    labels: tuple[str | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)


def packaged() -> Payloads:
    """Sentences of our own, from two words to several hundred."""
    lines = files("ftx_loadtests").joinpath("data/texts.txt").read_text(encoding="utf-8").split("\n")
    sentences = [line for line in lines if line]
    # Real traffic is mostly short, with a tail: paragraphs are runs of neighbouring sentences.
    paragraphs = [" ".join(sentences[start : start + size]) for size in (3, 8, 20) for start in range(0, 20, size)]
    return Payloads((*sentences, *paragraphs))


def of_lengths(distribution: str, source: Payloads, seed: int) -> Payloads:
    """Texts with lengths in words drawn from a distribution, made of the words of `source`.

    `distribution` is `uniform:LOW,HIGH`, `lognormal:MEDIAN,SIGMA` or `fixed:WORDS`. Raises `FtxError` for another.
    """
    generator = np.random.default_rng([seed, 1])
    lengths = _lengths(distribution, generator)
    words = [word for text in source.texts for word in text.split()]
    texts = []
    for length in lengths:
        start = int(generator.integers(len(words)))
        texts.append(" ".join(words[(start + place) % len(words)] for place in range(length)))
    return Payloads(tuple(texts))


def _lengths(distribution: str, generator: np.random.Generator) -> list[int]:
    name, _, rest = distribution.partition(":")
    try:
        numbers = [float(number) for number in rest.split(",")]
        if not all(0 < number < math.inf for number in numbers):
            raise ValueError
        if name == "fixed" and len(numbers) == 1:
            drawn = np.full(DRAWN, numbers[0])
        elif name == "uniform" and len(numbers) == 2 and numbers[0] <= numbers[1]:
            drawn = generator.integers(int(numbers[0]), int(numbers[1]) + 1, DRAWN).astype(np.float64)
        elif name == "lognormal" and len(numbers) == 2:
            with np.errstate(over="ignore"):
                drawn = numbers[0] * np.exp(numbers[1] * generator.standard_normal(DRAWN))
        else:
            raise ValueError
    except ValueError:
        raise FtxError(
            f"{distribution!r} is no distribution of lengths",
            "name one: --lengths fixed:20, --lengths uniform:5,60 or --lengths lognormal:20,0.8 (in words)",
        ) from None
    return [round(length) for length in np.clip(drawn, 1, MOST_WORDS).tolist()]


def read_texts(path: Path, text: str | None = None, label: str | None = None) -> Payloads:
    """The texts of a `.csv`, `.tsv` or `.jsonl` file, or the lines of any other; labels, where a column holds them.

    `text` and `label` name the columns; without them the usual names are looked for. Raises `FtxError` for a file that
    cannot be read, lacks the column, or has no text.
    """
    try:
        if path.suffix in (".csv", ".tsv"):
            rows = _read_table(path, "\t" if path.suffix == ".tsv" else ",")
        elif path.suffix in (".jsonl", ".ndjson"):
            rows = _read_jsonl(path)
        else:
            lines = path.read_text(encoding="utf-8").split("\n")
            rows = [{"text": line.rstrip("\r")} for line in lines]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FtxError(f"{path} cannot be read: {error}", "name a UTF-8 file: --texts texts.txt") from None
    found = _column(path, rows, text, TEXT_COLUMNS, "--text-column")
    labelled = _column(path, rows, label, LABEL_COLUMNS, "--label-column", optional=label is None)
    kept = [row for row in rows if found and isinstance(row.get(found), str) and row[found].strip()]
    if not kept or found is None:
        raise FtxError(f"{path} holds no text", "name a file with texts: --texts texts.txt")
    labels = None if labelled is None else tuple(_label(row.get(labelled)) for row in kept)
    return Payloads(tuple(row[found] for row in kept), labels)


def _label(value: Any) -> str | None:
    """An empty cell is a text without a label."""
    return None if value is None or value == "" else str(value)


def _read_table(path: Path, delimiter: str) -> list[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows: list[Mapping[str, Any]] = [*csv.DictReader(stream, delimiter=delimiter)]
    return rows


def _read_jsonl(path: Path) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise FtxError(f"{path}, line {number}, is no JSON: {error}", "write a JSON object a line") from None
            rows.append(row if isinstance(row, dict) else {"text": row})
    return rows


def _column(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    asked: str | None,
    usual: Sequence[str],
    option: str,
    *,
    optional: bool = False,
) -> str | None:
    names = list(dict.fromkeys(name for row in rows[:100] for name in row if name is not None))
    found = next((name for name in ([asked] if asked else usual) if name in names), None)
    if found is None and not optional and names:
        raise FtxError(
            f"{path} has no column {asked or 'of texts'}; there are {', '.join(names)}", f"name it: {option} {names[0]}"
        )
    return found


class Order:
    """Which text is sent next: all of them in a shuffled order before any comes again.

    A text that comes again is marked by spaces behind it, so that a cache that keys by the request's bytes does not
    answer it: a benchmark of a cache is asked for by `repeat`. Spaces, because tokenizers drop them, so that the label
    stays what it was.
    """

    def __init__(self, payloads: Sequence[str], indices: Sequence[int], seed: Sequence[int], repeat: bool) -> None:
        self._payloads = payloads
        self._indices = np.random.default_rng([*seed, 2]).permutation(np.asarray(indices, dtype=np.int64))
        self._repeat = repeat

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Pairs of the text's index and the text, without end."""
        round_number = 0
        while True:
            mark = "" if self._repeat else spaces(round_number)
            for index in self._indices.tolist():
                yield index, self._payloads[index] + mark
            round_number += 1


def spaces(number: int) -> str:
    """White space that is another for each number: its binary digits, as blanks and tabs."""
    return f"{number:b}".replace("0", " ").replace("1", "\t") if number else ""
