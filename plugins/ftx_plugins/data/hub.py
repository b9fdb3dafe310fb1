"""Data sets on the hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import datasets
import pyarrow as pa

from ftx.errors import FtxError
from ftx_plugins.data.columns import require_columns
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.reading import BATCH, Form, Rows, as_strings, class_names
from ftx_plugins.data.sources import SPLITS, Source


def load_splits(name: str, subset: str | None, revision: str) -> dict[str, Any]:
    """Split -> `datasets.Dataset`, of the hub data set `name`; kept in the cache of `datasets`, mapped into memory.

    Raises `FtxError` where it cannot be had: unknown, no network, or a choice of `data.subset` is needed.
    """
    with _quiet():
        try:
            loaded: Mapping[str, Any] = datasets.load_dataset(name, subset, revision=revision)
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise FtxError(
                f"the data set {name!r} cannot be loaded: {error}",
                "a file or folder is looked up relative to ftx.toml: check the spelling of data.train",
                "a hub data set with several configurations needs one: data.subset",
            ) from error
    known = {split: loaded[split] for split in SPLITS if split in loaded}
    if not known:
        raise FtxError(f"the data set {name!r} has no split that ftx knows, only {', '.join(loaded)}", "use files")
    return known


def open_hub_rows(table: Any, source: Source, config: DataConfig, form: Form = "name") -> Rows:
    """The rows of one loaded split."""
    require_columns(config, table.column_names, source.name)
    names = class_names(table.features, config)
    return Rows(_batches(table, source, config, names, form), names)


def _batches(
    table: Any, source: Source, config: DataConfig, names: tuple[str, ...], form: Form
) -> Iterator[pa.RecordBatch]:
    columns = table.select_columns(list(dict.fromkeys(config.wanted.values()))).with_format("arrow")
    for part in columns.iter(batch_size=BATCH):
        for batch in part.combine_chunks().to_batches():
            yield as_strings(batch, config, names, source.name, form)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the bars of `datasets`: progress is reported through the context."""
    bars = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if bars:
            datasets.enable_progress_bars()
