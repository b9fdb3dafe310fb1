"""The built-in step of the stage `data`."""

from __future__ import annotations

from collections.abc import Iterable

from ftx import Checkpoint, Dataset, Step, hookimpl
from ftx_plugins.data.config import DataConfig


@hookimpl
def ftx_steps() -> Iterable[Step]:
    yield Step(
        name="clean",
        stage="data",
        summary="Read labelled files, drop empty and duplicated rows, split, report",
        takes={"model": Checkpoint},
        gives=Dataset,
        config=DataConfig,
        run="ftx_plugins.data.clean:run",
        check="ftx_plugins.data.check:check",
        requires=("datasets", "numpy", "pyarrow", "rensa", "scipy", "tokenizers", "transformers"),
        version=2,
        default=True,
    )
