"""The built-in step of the stage `train`."""

from __future__ import annotations

from collections.abc import Iterable

from ftx import Checkpoint, Dataset, Step, hookimpl
from ftx_plugins.train.config import TrainConfig


@hookimpl
def ftx_train() -> Iterable[Step]:
    yield Step(
        name="finetune",
        stage="train",
        summary="fine-tune an encoder with a classification head",
        default=True,
        takes={"model": Checkpoint, "data": Dataset},
        gives=Checkpoint,
        config=TrainConfig,
        run="ftx_plugins.train.finetune:run",
        check="ftx_plugins.train.check:check",
        requires=("torch", "transformers", "accelerate", "datasets", "safetensors", "sklearn"),
        data_parallel=True,
    )
