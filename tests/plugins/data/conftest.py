"""`clean(train=…, …)` runs the data step with the tiny encoder's tokenizer, and gives back what it wrote."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ftx.artifacts import Artifact, Checkpoint, Dataset, Manifest


@dataclass
class Cleaned:
    """The step's metrics, the facts for the manifest, the report, and the data set."""

    metrics: Mapping[str, Any]
    meta: Mapping[str, Any]
    report: Mapping[str, Any]
    data: Artifact

    def rows(self, split: str) -> list[tuple[Any, ...]]:
        """(text, label name), or (text, second text, label name), of each row."""
        from ftx_plugins.data.splits import load_rows

        rows = load_rows(self.data, split)
        names = [self.meta["labels"][label] for label in rows.labels]
        columns = [rows.texts, names] if rows.pairs is None else [rows.texts, rows.pairs, names]
        return list(zip(*columns, strict=True))

    def texts(self, *splits: str) -> list[str]:
        return [row[0] for split in splits or ("train", "validation", "test") for row in self.rows(split)]


@pytest.fixture
def clean(make_context: Callable[..., Any], tiny_encoder: Path) -> Callable[..., Cleaned]:
    """`clean(seed=0, task="text-classification", **settings)`."""
    from ftx_plugins.data.clean import run
    from ftx_plugins.data.config import DataConfig

    def go(seed: int = 0, task: str = "text-classification", **settings: Any) -> Cleaned:
        paths = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
        context = make_context("data:clean", seed=seed, task=task)
        model = Checkpoint(tiny_encoder, Manifest(kind=Checkpoint.kind, files={}))
        metrics = run(DataConfig(**paths), {"model": model}, context)
        report = json.loads((context.out / "report.json").read_text(encoding="utf-8"))
        manifest = Manifest(kind=Dataset.kind, files={}, meta=context.meta)
        return Cleaned(metrics, context.meta, report, Dataset(context.out, manifest))

    return go


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """`write("a/rows.csv", text or bytes)`: the path."""

    def go(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return go


def table(rows: int = 30, prefix: str = "text", labels: tuple[str, ...] = ("no", "yes")) -> str:
    """A csv of distinct texts with alternating labels."""
    return "text,label\n" + "".join(f"{prefix} {n},{labels[n % len(labels)]}\n" for n in range(rows))


@pytest.fixture
def make_table() -> Callable[..., str]:
    """`make_table(rows=30, prefix="text", labels=("no", "yes"))`."""
    return table
