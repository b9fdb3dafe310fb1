"""The targets of token classification: entities as spans of characters, and the tags that a head learns them by."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ftx_plugins.data.conll import is_bilou
from ftx_plugins.data.duplicates import resolve_duplicates
from ftx_plugins.data.entities import read_spans, write_spans
from ftx_plugins.data.normalise import normalise
from ftx_plugins.data.staging import Staged
from ftx_plugins.tasks.targets import TargetReader, Targets, require_learnt, rows_with_each, strata_of_sets
from ftx_serving.tags import BILOU, BIO, tags_of


@dataclass
class EntitySets(Targets):
    """Any number of entities a row."""

    names: tuple[str, ...]
    """The tags."""
    strata: np.ndarray
    types: tuple[str, ...]
    sets: tuple[tuple[tuple[int, int, int], ...], ...]
    """Each set of entities that occurs: start, end and type (a place in `types`) of each, in order."""
    codes: np.ndarray
    """int64, shape (rows,): each row's place in `sets`."""
    scheme: str
    type = pa.list_(pa.list_(pa.int64()))

    def column(self, places: np.ndarray) -> pa.Array:
        return pa.array([self.sets[code] for code in self.codes[places]], self.type)

    def counts(self, places: np.ndarray) -> dict[str, int]:
        """Type -> rows with an entity of it."""
        counts = rows_with_each(_types(self.sets), self.codes[places], len(self.types))
        return dict(zip(self.types, counts.tolist(), strict=True))

    def facts(self, train: np.ndarray) -> dict[str, Any]:
        return {"scheme": self.scheme}


class EntityReader(TargetReader):
    """Token classification: the cell is a list of spans, as JSON; places are in the text without white space around."""

    form = "entities"

    def targets(self, batch: pa.RecordBatch, where: Callable[[int], str]) -> pa.Array:
        texts = batch.column("text")
        # By the kernel that the texts are stripped with: Python's idea of white space is another.
        removed = pc.subtract(pc.utf8_length(texts), pc.utf8_length(pc.utf8_ltrim_whitespace(texts)))
        rows = zip(texts.to_pylist(), batch.column("label").to_pylist(), removed.to_pylist(), strict=True)
        return pa.array(
            [
                None if text is None or not cell else _canonical(text, cell, shift, where(row))
                for row, (text, cell, shift) in enumerate(rows)
            ],
            pa.string(),
        )

    def comparable(self, staged: Staged) -> np.ndarray:
        """Normalised texts are the same whatever their white space, and places are not: entities are where they are in
        the normalised text, white space left out."""
        same = staged.labels.copy()
        ranks = np.zeros(len(same), dtype=np.int64)
        groups = resolve_duplicates(staged.near, staged.exact, staged.labels, ranks).conflicts
        texts = staged.texts_at([place for group in groups for place in group.tolist()])
        for group in groups:
            first: dict[str, int] = {}
            for place in group.tolist():
                moved = _normalised(texts[place]["text"], staged.names[same[place]])
                same[place] = first.setdefault(moved, int(same[place]))
        return same

    def learn(self, found: Sequence[str], codes: np.ndarray, given: np.ndarray, declared: Sequence[str]) -> EntitySets:
        """`declared` are the tags of conll files."""
        there, codes = np.unique(codes, return_inverse=True)
        named = [json.loads(found[code]) for code in there]
        kinds = [{kind for _, _, kind in entities} for entities in named]
        hint = f"is {self.config.label!r} the column of entities? set data.label"
        types = tuple(sorted(require_learnt(kinds, codes, given, "an entity", hint)))
        place = {name: index for index, name in enumerate(types)}
        sets = tuple(tuple((start, end, place[kind]) for start, end, kind in entities) for entities in named)
        strata = strata_of_sets(_types(sets), codes, len(types))
        scheme = BILOU if is_bilou(self.config, declared) else BIO
        name = "BILOU" if scheme == BILOU else "BIO"
        return EntitySets(tags_of(types, scheme), strata, types, sets, codes.astype(np.int64), name)


def _types(sets: Sequence[Sequence[tuple[int, int, int]]]) -> list[set[int]]:
    """Of each set of entities its types."""
    return [{kind for _, _, kind in entities} for entities in sets]


def _normalised(text: str, canonical: str) -> str:
    """Entities with their places in the normalised text without white space."""
    return write_spans(
        [(_letters(text[:start]), _letters(text[:end]), kind) for start, end, kind in json.loads(canonical)]
    )


def _letters(text: str) -> int:
    return len(normalise(text).replace(" ", ""))


def _canonical(text: str, cell: str, shift: int, where: str) -> str:
    return write_spans([(start - shift, end - shift, kind) for start, end, kind in read_spans(text, cell, where)])
