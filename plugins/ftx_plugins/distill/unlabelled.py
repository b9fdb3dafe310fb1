"""`distill.unlabelled`: texts without labels, read as `[data]` reads its files. Light until rows are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx_plugins.data.normalise import normalise_rows
from ftx_plugins.data.text_file import TextFile
from ftx_plugins.distill.config import DistillConfig

SETTING = "distill.unlabelled"
NAME = "unlabelled"
"""Of the split that is made of them."""
HELD_OUT = ("validation", "test")


def file_of(config: DistillConfig) -> TextFile:
    """The file that the settings name."""
    settings = SETTING, "distill.text", "distill.text_pair"
    return TextFile(Path(str(config.unlabelled)), config.text, config.text_pair, *settings)


def write_unlabelled(config: DistillConfig, data: Artifact, label: int, folder: Path) -> Mapping[str, int]:
    """Write the texts of `config.unlabelled` as a split into `folder`, each with `label`; returns counts.

    Rows without a text are left out, and those whose text is in the validation or the test split of `data`, up to
    case and white space: what a model is measured by it must not have seen. The counts are `rows` and `held_out`, the
    latter of those left out.
    Raises `FtxError` where nothing is left, or where one of data and file holds pairs and the other single texts.
    """
    import pyarrow as pa

    from ftx_plugins.data.splits import SplitWriter, load_split

    file = file_of(config)
    pairs = "text_pair" in load_split(data, "train").column_names
    file.require(pairs, "the data holds", "unlabelled")
    names = ("text", "text_pair") if pairs else ("text",)
    measured = _measured_texts(data, pairs)
    kept = held_out = 0
    folder.mkdir(parents=True, exist_ok=True)
    with SplitWriter(folder, NAME, (*names, "label", "row")) as writer:
        for rows in file.batches():
            folded = normalise_rows([row[0] for row in rows], [row[1] for row in rows] if pairs else None)
            fresh = [row for row, form in zip(rows, folded, strict=True) if form not in measured]
            held_out += len(rows) - len(fresh)
            columns = {name: pa.array([row[place] for row in fresh], pa.string()) for place, name in enumerate(names)}
            columns["label"] = pa.array([label] * len(fresh), pa.int64())
            columns["row"] = pa.array(range(kept, kept + len(fresh)), pa.int64())
            writer.write(pa.RecordBatch.from_pydict(columns))
            kept += len(fresh)
    if not kept:
        raise FtxError(f"{config.unlabelled} holds no text that could be learned from", f"correct {SETTING}")
    return {"rows": kept, "held_out": held_out}


def _measured_texts(data: Artifact, pairs: bool) -> set[str]:
    """Normalised as the rows of `data` are where duplicates are looked for."""
    from ftx_plugins.data.splits import load_split

    texts = set[str]()
    for split in HELD_OUT:
        held = load_split(data, split)
        texts.update(normalise_rows(held["text"][:], held["text_pair"][:] if pairs else None))
    return texts
