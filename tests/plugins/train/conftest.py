"""Data sets as the stage `data` leaves them, written with pyarrow alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from ftx import Context
from ftx.artifacts import Artifact
from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.finetune import run

LABELS = ["negative", "neutral", "positive"]
QUICK = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3, "mixed_precision": "fp32", "max_length": 32}
Row = tuple[str, ...]
"""(text, label name), or (text, text_pair, label name)."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """A tiny model gains nothing from a second thread, and waits for it wherever the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_split(path: Path, rows: Sequence[Row], labels: Sequence[str]) -> None:
    columns: dict[str, Any] = {"text": [row[0] for row in rows]}
    if rows and len(rows[0]) == 3:
        columns["text_pair"] = [row[1] for row in rows]
    columns["label"] = pa.array([labels.index(row[-1]) for row in rows], type=pa.int64())
    columns["row"] = pa.array(range(len(rows)), type=pa.int64())
    table = pa.table(columns)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


@pytest.fixture
def make_data(tmp_path: Path, as_artifact: Callable[..., Artifact]) -> Callable[..., Artifact]:
    """`make_data(train_rows, validation_rows, labels)`: a data set artifact with these rows."""
    made = 0

    def make(train: Sequence[Row], validation: Sequence[Row], labels: Sequence[str]) -> Artifact:
        nonlocal made
        made += 1
        folder = tmp_path / f"data-{made}"
        folder.mkdir()
        write_split(folder / "train.arrow", train, labels)
        write_split(folder / "validation.arrow", validation, labels)
        write_split(folder / "test.arrow", validation, labels)
        return as_artifact(folder, "dataset", labels=list(labels))

    return make


@pytest.fixture
def data(make_data: Callable[..., Artifact], make_sentences: Callable[..., Any]) -> Artifact:
    return make_data(make_sentences(120), make_sentences(45, seed=7), LABELS)


@pytest.fixture
def finetune(
    tiny_encoder: Path, as_artifact: Callable[..., Artifact], make_context: Callable[..., Context], data: Artifact
) -> Callable[..., tuple[Context, dict[str, Any]]]:
    """`finetune(**settings)`: the step's context and metrics, on the tiny encoder unless `model` says otherwise."""

    def carry_out(
        model: Path = tiny_encoder,
        seed: int = 0,
        rows: Artifact | None = None,
        context: Context | None = None,
        **settings: Any,
    ) -> tuple[Context, dict[str, Any]]:
        context = context or make_context("train:finetune", seed=seed)
        inputs = {"model": as_artifact(model, "checkpoint"), "data": rows or data}
        metrics = run(TrainConfig(**{**QUICK, **settings}), inputs, context)
        return context, metrics

    return carry_out
