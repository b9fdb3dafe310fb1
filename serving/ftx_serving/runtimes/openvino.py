"""Variants in OpenVINO's IR, run by its CPU plugin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ftx.errors import FtxError
from ftx.machine import cores
from ftx_serving.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov

LENGTH_STEP = 16
"""Lengths are rounded up to a multiple of this: OpenVINO builds its primitives anew for each new shape, and at lengths
that are no multiple of 16 it sums in another order, so that int8 logits depend on what a text is padded to."""
PRECISION_HINTS = {"bf16": "bf16"}
"""Variant's precision -> the precision of what is not int8. OpenVINO would choose bf16 by itself where it can."""


class OpenvinoSession:
    """A compiled model; calls may come from several threads, each has an infer request of its own."""

    length_step = LENGTH_STEP

    def __init__(self, model: ov.CompiledModel) -> None:
        self._model = model
        self._names = frozenset(value.any_name for value in model.inputs)
        lengths = [value.get_partial_shape()[1] for value in model.inputs]
        self._longest = min(length.get_max_length() for length in lengths)
        """The longest input in tokens; the exporter wrote it into the IR."""

    def __call__(self, **inputs: np.ndarray) -> np.ndarray:
        length = inputs["input_ids"].shape[1]
        rounded = max(length, min(-(-length // LENGTH_STEP) * LENGTH_STEP, self._longest))
        # What is added is masked: the attention mask is 0 there, and the ids can be any.
        padding = ((0, 0), (0, rounded - length))
        feed = {
            name: np.pad(values, padding) if rounded > length else values
            for name, values in inputs.items()
            if name in self._names
        }
        # Making a request takes 6 µs, and a result lives in its request.
        logits = self._model.create_infer_request().infer(feed)["logits"]
        if logits.ndim == 3:  # of tokens: those that were added have none
            logits = logits[:, :length]
        return np.array(logits, dtype=np.float32)


def load(folder: Path, variant: Mapping[str, Any], device: str = "cpu", threads: int | None = None) -> OpenvinoSession:
    """The variant (its entry in the bundle's `meta`) of the bundle in `folder`.

    `threads` is the number that one call uses; None: as many as this process has cores. Raises `FtxError` where the
    variant is bf16 and the processor is not.
    """
    if device != "cpu":
        raise FtxError(f"openvino runs on the processor here, not on {device}", "run it there: --device cpu")
    core = ov.Core()
    precision = PRECISION_HINTS.get(variant.get("precision", "fp32"), "f32")
    if precision == "bf16" and not has_bf16(core):
        raise FtxError(
            "this processor has no bf16, and would compute the variant in fp32",
            "choose another variant of the bundle: --variant NAME",
        )
    settings = cpu_settings(threads, precision)
    return OpenvinoSession(core.compile_model(core.read_model(folder / variant["file"]), "CPU", settings))


def cpu_settings(threads: int | None = None, precision: str = "f32") -> dict[str, Any]:
    """With which one call at a time uses `threads` threads (None: a thread for each core of this process)."""
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads or cores(),
        "NUM_STREAMS": 1,
        # Threads tied to cores wait for whatever else runs there: a neighbour, or a second server that chose the same.
        "ENABLE_CPU_PINNING": False,
    }


def has_bf16(core: ov.Core) -> bool:
    """Whether OpenVINO computes in bf16 here."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
