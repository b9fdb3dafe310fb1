"""The first pass: all usable rows into one file to map into memory, and what finding duplicates needs of each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ftx_plugins.data.normalise import DIGEST_BYTES, digests, normalise
from ftx_plugins.data.reading import BATCH, Rows
from ftx_plugins.data.sources import SPLITS

ReadTargets = Callable[[pa.RecordBatch, Callable[[int], str]], pa.Array]
REPLACED = "\ufffd"


@dataclass
class Found:
    """What one source holds, in rows."""

    read: int = 0
    empty_text: int = 0
    missing_label: int = 0
    replaced: int = 0
    """Rows with U+FFFD in a text or label: put there for a byte that was not valid, now or before."""


@dataclass(frozen=True)
class Staged:
    """The usable rows of all sources, source after source.

    `path` is an Arrow file with the columns `text`, perhaps `text_pair`, and `row`; the arrays run along its rows.
    """

    path: Path
    splits: np.ndarray
    """int8, shape (rows,): the place in `SPLITS` of the split whose source the row is from."""
    rows: np.ndarray
    """int64, shape (rows,): the row's place in its source, from 0; along the rows of a source it grows."""
    labels: np.ndarray
    """int32, shape (rows,): an index into `names`."""
    names: tuple[str, ...]
    """Labels, as strings, in the order in which they turned up."""
    near: np.ndarray
    """uint64, shape (rows, 2): the 128-bit digest of the normalised text."""
    exact: np.ndarray
    """uint64, shape (rows,): half of the digest of the text itself."""
    found: Mapping[str, Found]
    has_pairs: bool

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows again, mapped into memory."""
        with pa.memory_map(str(self.path)) as source, pa.ipc.open_file(source) as reader:
            for index in range(reader.num_record_batches):
                yield reader.get_batch(index)

    def texts_at(self, places: Sequence[int], characters: int | None = None) -> dict[int, dict[str, str]]:
        """Place -> `text`, perhaps `text_pair`, and no more `characters` of each than are asked for."""
        found: dict[int, dict[str, str]] = {}
        wanted, start = np.unique(np.asarray(places, dtype=np.int64)), 0
        for batch in self.batches():
            here = wanted[(wanted >= start) & (wanted < start + batch.num_rows)]
            rows = batch.take(pa.array(here - start)).to_pylist() if len(here) else []
            for place, row in zip(here.tolist(), rows, strict=True):
                found[place] = {name: row[name][:characters] for name in row if name != "row"}
            start += batch.num_rows
        return found

    def count_labels(self, places: np.ndarray) -> dict[str, int]:
        """Label name -> how many of these rows have it, the most frequent first."""
        codes, counts = np.unique(self.labels[places], return_counts=True)
        named = {self.names[code]: int(count) for code, count in zip(codes, counts, strict=True)}
        return dict(sorted(named.items(), key=lambda item: (-item[1], item[0])))


@dataclass
class _Columns:
    """The arrays to be, batch by batch."""

    splits: list[np.ndarray] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)
    near: list[np.ndarray] = field(default_factory=list)
    exact: list[np.ndarray] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)


def stage_rows(
    sources: Mapping[str, Rows],
    path: Path,
    *,
    targets: ReadTargets,
    has_pairs: bool,
    progress: Callable[[int], None],
) -> Staged:
    """Read all rows into the file `path`, without those that have no text or no label.

    Outer white space is removed from texts; `targets(batch, where)` is what counts as the labels, in one form for equal
    ones; `where(row)` names a row of the batch. `progress(rows read so far)` is called after each batch.
    """
    columns, found = _Columns(), {split: Found() for split in sources}
    names = ["text", "text_pair"] if has_pairs else ["text"]
    schema = pa.schema([*((name, pa.string()) for name in names), ("row", pa.int64())])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for split, rows in sources.items():
            for batch in _small(rows.batches):
                usable = _usable(_with_labels(batch, targets, split, found[split].read), found[split])
                writer.write_batch(usable.select(schema.names))
                _collect(usable, SPLITS.index(split), columns)
                progress(sum(each.read for each in found.values()))
    return Staged(
        path,
        _joined(columns.splits, np.int8),
        _joined(columns.rows, np.int64),
        _joined(columns.labels, np.int32),
        tuple(columns.names),
        _joined(columns.near, np.uint64).reshape(-1, 2),
        _joined(columns.exact, np.uint64),
        found,
        has_pairs,
    )


def _small(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH):
            yield batch.slice(start, BATCH)


def _with_labels(batch: pa.RecordBatch, targets: ReadTargets, split: str, start: int) -> pa.RecordBatch:
    """The batch with labels in one form for equal ones. `start` rows of the source came before."""
    labels = targets(batch, lambda row: f"data.{split}, row {start + row + 1}")
    return batch.set_column(batch.schema.get_field_index("label"), "label", labels)


def _usable(batch: pa.RecordBatch, found: Found) -> pa.RecordBatch:
    """The rows with text and label, stripped, with their place in the source; what is left out is counted."""
    stripped = {name: pc.utf8_trim_whitespace(pc.fill_null(batch.column(name), "")) for name in batch.schema.names}
    texts = [stripped[name] for name in stripped if name != "label"]
    has_text = _all(pc.not_equal(text, "") for text in texts)
    has_label = pc.not_equal(stripped["label"], "")
    has_both = pc.and_(has_text, has_label)
    rows = pa.array(np.arange(found.read, found.read + batch.num_rows, dtype=np.int64))
    found.read += batch.num_rows
    found.empty_text += _count(pc.invert(has_text))
    found.missing_label += _count(pc.and_not(has_text, has_label))
    is_whole = _all(pc.invert(pc.match_substring(values, REPLACED)) for values in stripped.values())
    found.replaced += _count(pc.invert(is_whole))
    return pa.RecordBatch.from_pydict({**stripped, "row": rows}).filter(has_both)


def _all(masks: Iterator[pa.Array]) -> pa.Array:
    result = next(masks)
    for mask in masks:
        result = pc.and_(result, mask)
    return result


def _count(mask: pa.Array) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _collect(batch: pa.RecordBatch, split: int, columns: _Columns) -> None:
    # Python strings rather than Arrow kernels: those know no case folding, and a million rows take seconds.
    texts = batch.column("text").to_pylist()
    pairs = batch.column("text_pair").to_pylist() if "text_pair" in batch.schema.names else None
    folded = [normalise(text) for text in texts]
    folded_pairs = None if pairs is None else [normalise(pair) for pair in pairs]
    columns.near.append(_as_words(digests(folded, folded_pairs)).reshape(-1))
    columns.exact.append(_as_words(digests(texts, pairs))[:, 0])
    columns.splits.append(np.full(len(texts), split, dtype=np.int8))
    columns.rows.append(batch.column("row").to_numpy())
    coded = batch.column("label").dictionary_encode()
    codes = np.array(
        [columns.names.setdefault(name, len(columns.names)) for name in coded.dictionary.to_pylist()], dtype=np.int32
    )
    columns.labels.append(codes[coded.indices.to_numpy(zero_copy_only=False)])


def _as_words(digest: bytes) -> np.ndarray:
    # Little-endian whatever the machine, so that splits are the same everywhere.
    return np.frombuffer(digest, dtype="<u8").reshape(-1, DIGEST_BYTES // 8).astype(np.uint64)


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)
