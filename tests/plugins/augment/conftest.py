"""`augment("noise", …)` runs a step on the tiny data set, and gives back what it wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ftx.artifacts import Artifact
from ftx.step import load_by_name


@dataclass
class Augmented:
    """The step's metrics, and the data set that it gave."""

    metrics: Mapping[str, Any]
    data: Artifact

    def rows(self, split: str = "train") -> list[dict[str, Any]]:
        from ftx_plugins.data.splits import load_split

        return list(load_split(self.data, split).to_list())

    def added(self) -> list[dict[str, Any]]:
        return [row for row in self.rows() if row.get("origin")]


Augment = Callable[..., Augmented]


@pytest.fixture
def augment(make_context: Any, tiny_dataset: Artifact, tiny_encoder: Path, as_artifact: Any, tmp_path: Path) -> Augment:
    """`augment(method, data=tiny_dataset, model=tiny_encoder, seed=0, work=None, plugins=None, **settings)`."""
    from ftx.artifacts import Checkpoint, Manifest

    def go(
        method: str,
        data: Artifact = tiny_dataset,
        model: Path = tiny_encoder,
        seed: int = 0,
        work: Path | None = None,
        plugins: Any = None,
        **settings: Any,
    ) -> Augmented:
        from dataclasses import replace

        context = make_context(f"augment:{method}", seed=seed, work=work)
        if plugins is not None:
            context = replace(context, plugins=plugins)
        step = context.plugins.steps()[f"augment:{method}"]
        inputs = {"model": Checkpoint(model, Manifest(kind=Checkpoint.kind, files={})), "data": data}
        config = step.config(**{"probe_rows": 0, **settings})
        metrics = load_by_name(step.run)(config, inputs, context)
        return Augmented(metrics, as_artifact(context.out, "dataset", **context.meta))

    return go
