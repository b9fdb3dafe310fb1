"""`distill.unlabelled`: texts without labels, read as `[data]` reads its files. Light until rows are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.sources import Source
from ftx_plugins.distill.config import DistillConfig

if TYPE_CHECKING:
    import pyarrow as pa

SETTING = "distill.unlabelled"
NAME = "unlabelled"
"""Of the split that is made of them."""
HELD_OUT = ("validation", "test")


class TextColumns(DataConfig):
    """How to read texts without labels; problems name the settings of the stage distill."""

    label: str = Field("", max_length=0, description="There is none")

    @property
    def wanted(self) -> dict[str, str]:
        pair = {"distill.text_pair": self.text_pair} if self.text_pair else {}
        return {"distill.text": self.text, **pair}


def columns_of(config: DistillConfig) -> TextColumns:
    """The settings as the readers of `[data]` take them."""
    return TextColumns(train=str(config.unlabelled), text=config.text, text_pair=config.text_pair)


def write_unlabelled(config: DistillConfig, data: Artifact, label: int, folder: Path) -> Mapping[str, int]:
    """Write the texts of `config.unlabelled` as a split into `folder`, each with `label`; returns counts.

    Rows without a text are left out, and those whose text is in the validation or the test split of `data`: what a
    model is measured by it must not have seen. The counts are `rows` and `held_out`, the latter of those left out.
    Raises `FtxError` where nothing is left, or where one of data and file holds pairs and the other single texts.
    """
    import pyarrow as pa

    from ftx_plugins.data.splits import SplitWriter

    names = ("text", "text_pair") if _pairs(config, data) else ("text",)
    measured = _measured_texts(data, names)
    kept = held_out = 0
    folder.mkdir(parents=True, exist_ok=True)
    with SplitWriter(folder, NAME, (*names, "label", "row")) as writer:
        for batch in _batches(config):
            rows = [
                tuple(text.strip() for text in row)
                for row in zip(*(batch.column(name).to_pylist() for name in names), strict=True)
                if all(text and text.strip() for text in row)
            ]
            fresh = [row for row in rows if row not in measured]
            held_out += len(rows) - len(fresh)
            columns = {name: pa.array([row[place] for row in fresh], pa.string()) for place, name in enumerate(names)}
            columns["label"] = pa.array([label] * len(fresh), pa.int64())
            columns["row"] = pa.array(range(kept, kept + len(fresh)), pa.int64())
            writer.write(pa.RecordBatch.from_pydict(columns))
            kept += len(fresh)
    if not kept:
        raise FtxError(f"{config.unlabelled} holds no text that could be learned from", f"correct {SETTING}")
    return {"rows": kept, "held_out": held_out}


def _batches(config: DistillConfig) -> Iterator[pa.RecordBatch]:
    from ftx_plugins.data.reading import open_rows

    return open_rows(Source((Path(str(config.unlabelled)),)), columns_of(config)).batches


def _pairs(config: DistillConfig, data: Artifact) -> bool:
    from ftx_plugins.data.splits import load_split

    pairs = "text_pair" in load_split(data, "train").column_names
    if pairs != bool(config.text_pair):
        holds, named = ("pairs of texts", "no column of second texts") if pairs else ("single texts", "pairs")
        raise FtxError(
            f"the data holds {holds}, and the settings of the unlabelled file name {named}",
            f"{'set' if pairs else 'leave out'} distill.text_pair",
        )
    return pairs


def _measured_texts(data: Artifact, names: tuple[str, ...]) -> set[tuple[str, ...]]:
    from ftx_plugins.data.splits import load_split

    splits = [load_split(data, split) for split in HELD_OUT]
    return {row for split in splits for row in zip(*(split[name][:] for name in names), strict=True)}
