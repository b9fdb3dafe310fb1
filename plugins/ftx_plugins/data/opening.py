"""All sources of a configuration, opened: split -> where its rows come from, and the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ftx.errors import FtxError
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.hub import load_splits, open_hub_rows
from ftx_plugins.data.reading import Form, Rows, open_rows
from ftx_plugins.data.sources import SPLITS, Source, find_sources


def open_sources(
    config: DataConfig, warn: Callable[[str], None], form: Form = "name"
) -> tuple[dict[str, Source], dict[str, Rows]]:
    """Open each split that is given: named in the settings, or found in the folder or hub data set of `train`."""
    sources = find_sources(config)
    named = {source.hub for source in sources.values() if source.hub}
    loaded = {name: load_splits(name, config.subset, config.revision) for name in named}
    sources = _with_hub_splits(sources, loaded)
    rows: dict[str, Rows] = {}
    for split, source in sources.items():
        for path in source.ignored:
            warn(
                f"{path.name} belongs to no split and is left out: name it as data.validation or data.test, or move it"
            )
        if source.hub:
            rows[split] = open_hub_rows(loaded[source.hub][source.split], source, config, form)
        else:
            rows[split] = open_rows(source, config, form)
    return sources, rows


def _with_hub_splits(sources: dict[str, Source], loaded: dict[str, dict[str, Any]]) -> dict[str, Source]:
    """The splits that a hub data set turned out to have."""
    result = dict(sources)
    train = sources["train"]
    if train.hub:
        tables = loaded[train.hub]
        if "train" not in tables:
            raise FtxError(
                f"{train.name} is not there, only {', '.join(tables)}", "name the rows to train on: data.train"
            )
        result = {split: Source(hub=train.hub, split=split) for split in tables} | sources
    for split, source in result.items():
        if source.hub and source.split not in loaded[source.hub]:
            result[split] = Source(hub=source.hub, split="train")
    return {split: result[split] for split in SPLITS if split in result}
