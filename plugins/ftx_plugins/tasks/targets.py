"""How the targets of each task are read and checked, what rows are stratified by, and how splits keep them.

While files are read and duplicates found, a row's target is a string, in one form for equal targets (`canonical`): so
that "the same text with another target" means the same for every task. `learn` then turns the strings into values.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ftx.errors import FtxError
from ftx_plugins.data.classes import count_classes, order_names, require_classes
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.reading import Form
from ftx_plugins.data.sources import SPLITS
from ftx_plugins.data.staging import Staged

BINS = 10
"""Quantiles of the target that a regression is stratified by."""
FEWEST = 10
"""A set of labels with fewer rows is stratified by its rarest label."""
TOLERANCE_SHARE = 0.1
"""Of the standard deviation of the training targets."""
TRUE = {"1", "true", "yes", "y", "t", "1.0"}
FALSE = {"0", "false", "no", "n", "f", "0.0", ""}


class Targets(ABC):
    """The targets of the rows that stay. Arrays run along these rows."""

    names: tuple[str, ...]
    """Names of the head's outputs, in order."""
    strata: np.ndarray
    """int64, shape (rows,): rows with the same number are drawn in proportion."""
    type: pa.DataType
    """Of the column `label` in a split."""

    @abstractmethod
    def column(self, places: np.ndarray) -> pa.Array:
        """The targets of the rows at `places`."""

    @abstractmethod
    def counts(self, places: np.ndarray) -> dict[str, int]:
        """Of the rows at `places`: label -> rows with it, in the order of `names`; empty where there are no labels."""

    def facts(self, train: np.ndarray) -> dict[str, Any]:
        """What the manifest says beside the names; `train` are the places of the training rows."""
        return {}


class TargetReader(ABC):
    """The targets of one task, as the settings say that the files hold them."""

    form: ClassVar[Form] = "name"

    def __init__(self, config: DataConfig) -> None:
        self.config = config

    def canonical(self, cell: str | None, where: str) -> str:
        """The target in a cell, in the same form for equal targets; empty where there is none.

        `where` names the row. Raises `FtxError` for what is no target.
        """
        return (cell or "").strip()

    def targets(self, batch: pa.RecordBatch, where: Callable[[int], str]) -> pa.Array:
        """The canonical target of each row of a batch with the columns `text` and `label`; null where there is none.
        `where(row)` names a row."""
        cells = batch.column("label").dictionary_encode()
        codes = pc.fill_null(cells.indices, -1).to_numpy(zero_copy_only=False)
        first = dict(zip(*np.unique(codes, return_index=True), strict=True))
        values = cells.dictionary.to_pylist()
        known = [self.canonical(value, where(int(first[code]))) for code, value in enumerate(values)]
        return pa.array([*known, None], pa.string()).take(pa.array(codes % (len(known) + 1)))

    def comparable(self, staged: Staged) -> np.ndarray:
        """A number for each row, int32 of shape (rows,): of rows with the same normalised text equal ones have the same
        target."""
        return staged.labels

    @abstractmethod
    def learn(self, found: Sequence[str], codes: np.ndarray, given: np.ndarray, declared: Sequence[str]) -> Targets:
        """The targets of rows with the canonical strings `found[codes]`, given for the splits `given` (places in
        `SPLITS`). `declared` are label names in an order that a source declares.

        Raises `FtxError` where they cannot be learnt.
        """


@dataclass
class Labels(Targets):
    """One label a row."""

    names: tuple[str, ...]
    strata: np.ndarray
    type = pa.int64()

    def column(self, places: np.ndarray) -> pa.Array:
        return pa.array(self.strata[places])

    def counts(self, places: np.ndarray) -> dict[str, int]:
        counts = np.bincount(self.strata[places], minlength=len(self.names))
        return dict(zip(self.names, counts.tolist(), strict=True))


class LabelReader(TargetReader):
    """Text classification: the cell is the label's name."""

    def learn(self, found: Sequence[str], codes: np.ndarray, given: np.ndarray, declared: Sequence[str]) -> Labels:
        names = order_names({found[code] for code in np.unique(codes)}, declared)
        place = {name: index for index, name in enumerate(names)}
        labels = np.array([place.get(name, -1) for name in found], dtype=np.int64)[codes]
        require_classes(count_classes(labels, given, names), names, self.config)
        return Labels(names, labels)


@dataclass
class LabelSets(Targets):
    """Any number of labels a row."""

    names: tuple[str, ...]
    strata: np.ndarray
    sets: tuple[tuple[int, ...], ...]
    """Each set that occurs, as places in `names`, in order."""
    codes: np.ndarray
    """int64, shape (rows,): each row's place in `sets`."""
    type = pa.list_(pa.int64())

    def column(self, places: np.ndarray) -> pa.Array:
        return pa.array([self.sets[code] for code in self.codes[places]], self.type)

    def counts(self, places: np.ndarray) -> dict[str, int]:
        counts = rows_with_each(self.sets, self.codes[places], len(self.names))
        return dict(zip(self.names, counts.tolist(), strict=True))


class LabelSetReader(TargetReader):
    """Multi-label: names in one cell with a separator between them, a list of names, or a column for each label.

    A row without any label is a row like any other.
    """

    form = "names"

    def canonical(self, cell: str | None, where: str) -> str:
        if cell is None:
            return ""
        names = self._of_columns(cell, where) if self.config.label_columns else self._of_cell(cell, where)
        return json.dumps(sorted(set(names)), ensure_ascii=False)

    def learn(self, found: Sequence[str], codes: np.ndarray, given: np.ndarray, declared: Sequence[str]) -> LabelSets:
        there, codes = np.unique(codes, return_inverse=True)
        sets = [json.loads(found[code]) for code in there]
        names = order_names({name for members in sets for name in members}, self.config.label_columns or declared)
        hint = f"is {self.config.label!r} the column of labels? set data.label, or data.label_columns"
        require_learnt(sets, codes, given, "a label", hint)
        place = {name: index for index, name in enumerate(names)}
        numbered = tuple(tuple(sorted(place[name] for name in members)) for members in sets)
        return LabelSets(names, strata_of_sets(numbered, codes, len(names)), numbered, codes.astype(np.int64))

    def _of_cell(self, cell: str, where: str) -> list[str]:
        if cell.lstrip().startswith("["):
            try:
                names = json.loads(cell)
            except ValueError:
                names = None
            if isinstance(names, list):
                return [_name(name, where) for name in names if name not in (None, "")]
        return [name.strip() for name in cell.split(self.config.label_separator) if name.strip()]

    def _of_columns(self, cell: str, where: str) -> list[str]:
        """`cell` is what the reader made of the columns: a list of their cells, as JSON."""
        names = []
        for name, value in zip(self.config.label_columns, json.loads(cell), strict=True):
            text = str(value or "").strip().lower()
            if text in TRUE:
                names.append(name)
            elif text not in FALSE:
                raise FtxError(
                    f"{where}: the column {name!r} holds {str(value)[:60]!r}, which says neither yes nor no",
                    "write 1 or 0 in the columns of labels: data.label_columns",
                )
        return names


def require_learnt(
    sets: Sequence[Iterable[str]], codes: np.ndarray, given: np.ndarray, what: str, hint: str
) -> set[str]:
    """The labels of the training rows; `sets[codes]` are the labels of the rows, `given` as in `TargetReader.learn`.

    Raises `FtxError`, with `hint`, where no training row has any (`what`: "a label"), and where validation or test rows
    have labels that the training rows lack.
    """
    of_split = {
        split: {name for code in np.unique(codes[given == place]) for name in sets[code]}
        for place, split in enumerate(SPLITS)
    }
    if not of_split["train"]:
        raise FtxError(f"no training row has {what}: there is nothing to learn", hint)
    for split in ("validation", "test"):
        if unknown := sorted(of_split[split] - of_split["train"]):
            raise FtxError(
                f"the {split} split has labels that the training rows lack: {', '.join(unknown[:5])}",
                f"correct the labels in data.{split}, or add rows with them to data.train",
            )
    return of_split["train"]


def rows_with_each(sets: Sequence[Collection[int]], codes: np.ndarray, names: int) -> np.ndarray:
    """How many of the rows with the sets `sets[codes]` have each of so many labels, int64 of shape (names,)."""
    totals = np.zeros(names, dtype=np.int64)
    for members, count in zip(sets, np.bincount(codes, minlength=len(sets)), strict=True):
        totals[list(members)] += count
    return totals


def strata_of_sets(sets: Sequence[Collection[int]], codes: np.ndarray, names: int) -> np.ndarray:
    """For rows with the sets `sets[codes]`, what they are stratified by: their set, or, where that is rare, its rarest
    label. int64 of shape (rows,), numbered from 0.
    """
    rows = np.bincount(codes, minlength=len(sets))
    frequency = rows_with_each(sets, codes, names)
    by_label = [
        names + place if count >= FEWEST or not members else min(members, key=lambda name: (frequency[name], name))
        for place, (members, count) in enumerate(zip(sets, rows, strict=True))
    ]
    return np.unique(np.asarray(by_label, dtype=np.int64)[codes], return_inverse=True)[1].astype(np.int64)


@dataclass
class Numbers(Targets):
    """A number a row."""

    names: tuple[str, ...]
    strata: np.ndarray
    values: np.ndarray
    tolerance: float | None
    type = pa.float64()

    def column(self, places: np.ndarray) -> pa.Array:
        return pa.array(self.values[places], self.type)

    def counts(self, places: np.ndarray) -> dict[str, int]:
        return {}

    def facts(self, train: np.ndarray) -> dict[str, Any]:
        """`target`: mean and standard deviation of the training rows; `tolerance`, chosen by the latter if not set."""
        values = self.values[train]
        spread = float(values.std())
        tolerance = TOLERANCE_SHARE * spread if self.tolerance is None else self.tolerance
        return {
            "target": {
                "mean": float(values.mean()),
                "std": spread,
                "min": float(values.min()),
                "max": float(values.max()),
            },
            "tolerance": float(f"{tolerance:.6g}"),
        }


class NumberReader(TargetReader):
    """Regression: the cell is a number."""

    form = "number"

    def canonical(self, cell: str | None, where: str) -> str:
        text = (cell or "").strip()
        if not text:
            return ""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
            if text.lower() == "nan":
                return ""
        if not math.isfinite(value):
            raise FtxError(
                f"{where}: {text[:60]!r} in the column {self.config.label!r} is not a number",
                "name the column of numbers: data.label",
                "or train a classifier: --set model.task=text-classification",
            )
        return repr(value)

    def learn(self, found: Sequence[str], codes: np.ndarray, given: np.ndarray, declared: Sequence[str]) -> Numbers:
        there, codes = np.unique(codes, return_inverse=True)
        values = np.array([float(found[code]) for code in there])[codes]
        train = values[given == 0]
        if len(np.unique(train)) < 2:
            raise FtxError(
                f"all {len(train)} training rows have one target, {train[0]:g}: there is nothing to learn",
                f"is {self.config.label!r} the column of numbers? set data.label",
            )
        edges = np.unique(np.quantile(train, np.linspace(0, 1, BINS + 1)[1:-1]))
        strata = np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)[1].astype(np.int64)
        return Numbers((self.config.label,), strata, values, self.config.tolerance)


def _name(value: Any, where: str) -> str:
    if isinstance(value, bool | int | str):
        return (json.dumps(value) if not isinstance(value, str) else value).strip()
    raise FtxError(f"{where}: {json.dumps(value)[:60]} is no name of a label", "write names, or one list of names")
