"""The step `cluster:kmeans`."""

from __future__ import annotations

from collections.abc import Iterable

from ftx import Checkpoint, Step, hookimpl
from ftx_weight_clustering.config import KmeansConfig


@hookimpl
def ftx_steps() -> Iterable[Step]:
    yield Step(
        name="kmeans",
        stage="cluster",
        summary="weights that share few values, found by k-means; the files compress better",
        takes={"model": Checkpoint},
        gives=Checkpoint,
        config=KmeansConfig,
        run="ftx_weight_clustering.cluster:run",
        requires=("numpy", "safetensors"),
        default=True,
    )
