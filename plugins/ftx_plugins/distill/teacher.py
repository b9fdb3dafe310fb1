"""The teacher: opened, checked against the data, and asked once for its logits, which are kept on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ftx import Artifact, Context, FtxError
from ftx.tasks import TEXT_CLASSIFICATION
from ftx_plugins.checkpoint import LoadedCheckpoint, compute_logits, load_checkpoint
from ftx_plugins.train.head import listed
from ftx_plugins.train.saves import write_json

CHUNK = 1024
"""Rows that are asked about at a time; a killed run asks about no more than so many again."""


def open_teacher(source: Artifact, data: Artifact, context: Context) -> LoadedCheckpoint:
    """The teacher in fp32; `FtxError` unless its labels are those of the data."""
    teacher = load_checkpoint(source.path, trust_remote_code=context.model.trust_remote_code, device=context.device)
    if teacher.task != TEXT_CLASSIFICATION:
        raise FtxError(
            f"the teacher is for {teacher.task}, and distill is for {TEXT_CLASSIFICATION}",
            f"name a teacher for {TEXT_CLASSIFICATION}: --set distill.teacher=REF",
        )
    names = data.meta["labels"]
    if set(teacher.labels) != set(names):
        raise FtxError(
            f"the teacher's labels ({listed(teacher.labels)}) are not the data's ({listed(names)})",
            "name a teacher that was trained on these labels: --set distill.teacher=REF",
            "or train one on this data: ftx run train distill",
        )
    if source.meta.get("recipe"):
        context.log("the teacher is quantized: it teaches as it is without its recipe, in fp32")
    return teacher


def kept_logits(
    teacher: LoadedCheckpoint, labels: Sequence[str], split: Any, folder: Path, context: Context
) -> np.ndarray:
    """The teacher's logits on the rows of `split` (columns `text`, perhaps `text_pair`), with its own tokenizer.

    Float32 of shape (rows, classes), mapped into memory, with the classes in the order of `labels`. They are kept in
    `folder`; what an earlier, killed run has computed is taken from there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, place = folder / "logits.npy", folder / "done.json"
    done = json.loads(place.read_text(encoding="utf-8"))["rows"] if place.exists() else 0
    shape = (len(split), len(labels))
    if done < len(split):
        order = [teacher.labels.index(name) for name in labels]
        kept = np.lib.format.open_memmap(path, mode="r+" if done else "w+", dtype=np.float32, shape=shape)
        for start in range(done, len(split), CHUNK):
            rows = split[start : start + CHUNK]
            pairs = rows.get("text_pair")
            kept[start : start + CHUNK] = compute_logits(teacher, rows["text"], pairs)[:, order]
            kept.flush()
            write_json(place, {"rows": min(start + CHUNK, len(split))})
            context.progress(min(start + CHUNK, len(split)), len(split), "rows", doing="teacher's answers")
    logits: np.ndarray = np.load(path, mmap_mode="r")
    return logits
