"""The step `export:numpy` and the runtime `numpy`."""

from __future__ import annotations

from collections.abc import Iterable

from ftx import Bundle, Checkpoint, Dataset, Runtime, Step, hookimpl
from ftx_numpy_runtime.config import NumpyConfig


@hookimpl
def ftx_export() -> Iterable[Step]:
    yield Step(
        name="numpy",
        stage="export",
        summary="a bundle with BERT for NumPy alone",
        takes={"model": Checkpoint, "data": Dataset, "bundle": Bundle | None},
        gives=Bundle,
        config=NumpyConfig,
        run="ftx_numpy_runtime.export:run",
        requires=("torch", "transformers", "tokenizers", "datasets", "numpy", "safetensors"),
    )


@hookimpl
def ftx_runtimes() -> Iterable[Runtime]:
    yield Runtime(
        name="numpy",
        summary="BERT in NumPy, on the processor",
        load="ftx_numpy_runtime.session:load",
        formats=("numpy",),
        requires=("numpy", "safetensors"),
    )
