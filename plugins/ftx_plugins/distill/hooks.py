"""The built-in step of the stage `distill`."""

from __future__ import annotations

from collections.abc import Iterable

from ftx import Checkpoint, Dataset, Step, hookimpl
from ftx.tasks import TEXT_CLASSIFICATION
from ftx_plugins.distill.config import DistillConfig


@hookimpl
def ftx_steps() -> Iterable[Step]:
    yield Step(
        name="logits",
        stage="distill",
        summary="teach a smaller encoder, or some of the teacher's layers, by the teacher's probabilities",
        default=True,
        takes={"model": Checkpoint, "data": Dataset},
        gives=Checkpoint,
        config=DistillConfig,
        run="ftx_plugins.distill.logits:run",
        check="ftx_plugins.distill.check:check",
        requires=("torch", "transformers", "datasets", "optimum", "safetensors", "sklearn"),
        tasks=(TEXT_CLASSIFICATION,),
        version=2,
    )
