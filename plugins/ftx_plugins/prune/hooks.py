"""The built-in prune steps, and the architectures that they know."""

from __future__ import annotations

from collections.abc import Iterable

from ftx import Architecture, Checkpoint, Dataset, Step, hookimpl
from ftx.tasks import OF_WHOLE_TEXTS
from ftx_plugins.prune.architectures import ARCHITECTURES
from ftx_plugins.prune.config import LayersConfig, MagnitudeConfig, StructuredConfig, VocabularyConfig, WidthConfig

REQUIRES = ("torch", "transformers", "optimum", "datasets")


@hookimpl
def ftx_prune() -> Iterable[Step]:
    yield Step(
        name="structured",
        stage="prune",
        summary="attention heads and FFN neurons, to a share of the operations or of the latency, then recovery",
        takes={"model": Checkpoint, "data": Dataset},
        gives=Checkpoint,
        config=StructuredConfig,
        run="ftx_plugins.prune.structured:run",
        tasks=OF_WHOLE_TEXTS,
        requires=REQUIRES,
        default=True,
        # `latency` is a share of what is measured here.
        measures=True,
    )
    yield Step(
        name="layers",
        stage="prune",
        summary="whole layers, then recovery; loads with stock transformers",
        takes={"model": Checkpoint, "data": Dataset},
        gives=Checkpoint,
        config=LayersConfig,
        run="ftx_plugins.prune.layers:run",
        tasks=OF_WHOLE_TEXTS,
        requires=REQUIRES,
    )
    yield Step(
        name="width",
        stage="prune",
        summary="FFN neurons, the same number in each layer, then recovery; loads with stock transformers",
        takes={"model": Checkpoint, "data": Dataset},
        gives=Checkpoint,
        config=WidthConfig,
        run="ftx_plugins.prune.width:run",
        tasks=OF_WHOLE_TEXTS,
        requires=REQUIRES,
    )
    yield Step(
        name="vocabulary",
        stage="prune",
        summary="tokens that the data does not use: smaller files, same speed; loads with stock transformers",
        takes={"model": Checkpoint, "data": Dataset},
        gives=Checkpoint,
        config=VocabularyConfig,
        run="ftx_plugins.prune.vocabulary:run",
        requires=("torch", "transformers", "tokenizers", "datasets"),
    )
    yield Step(
        name="magnitude",
        stage="prune",
        summary="small weights to zero, in place: nothing is smaller or faster without a runtime for sparse weights",
        takes={"model": Checkpoint},
        gives=Checkpoint,
        config=MagnitudeConfig,
        run="ftx_plugins.prune.magnitude:run",
        requires=("torch", "transformers", "optimum"),
    )


@hookimpl
def ftx_architectures() -> Iterable[Architecture]:
    yield from ARCHITECTURES
