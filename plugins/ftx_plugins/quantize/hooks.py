"""The built-in quantize steps."""

from __future__ import annotations

from collections.abc import Iterable

from ftx import Bundle, Checkpoint, Step, hookimpl
from ftx_plugins.quantize.config import DynamicConfig


@hookimpl
def ftx_quantize() -> Iterable[Step]:
    yield Step(
        name="dynamic",
        stage="quantize",
        summary="int8 weights, activations quantized at each call; needs no data",
        takes={"model": Checkpoint | Bundle},
        gives="model",
        config=DynamicConfig,
        run="ftx_plugins.quantize.dynamic:run",
        requires=("torch", "transformers", "onnx", "onnxruntime"),
        default=True,
        # `reduce_range = "auto"` asks the processor.
        measures=True,
    )
