"""Variants in ONNX, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from ftx.errors import FtxError
from ftx.machine import cores

OVERSIZED_TOKENS = 8192
"""Padded tokens of a batch beyond which its memory is given back: the arena would keep it for good."""
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_ERRORS_ONLY = 3


class OnnxSession:
    """A loaded ONNX model; calls may come from several threads."""

    def __init__(self, session: ort.InferenceSession, device: str) -> None:
        self._session = session
        self._names = frozenset(value.name for value in session.get_inputs())
        self._shrinking = ort.RunOptions()
        self._shrinking.add_run_config_entry(
            "memory.enable_memory_arena_shrinkage", "cpu:0" if device == "cpu" else "cpu:0;gpu:0"
        )

    def __call__(self, **inputs: np.ndarray) -> np.ndarray:
        feed = {name: values for name, values in inputs.items() if name in self._names}
        options = self._shrinking if inputs["input_ids"].size > OVERSIZED_TOKENS else None
        [logits] = self._session.run(["logits"], feed, options)
        return np.asarray(logits, dtype=np.float32)


def load(folder: Path, variant: Mapping[str, Any], device: str = "cpu", threads: int | None = None) -> OnnxSession:
    """The variant (its entry in the bundle's `meta`) of the bundle in `folder`.

    `threads` is the number that one call uses; None: as many as this process has cores, which ONNX Runtime itself
    takes from the host. Raises `FtxError` where this build of ONNX Runtime lacks the device.
    """
    if PROVIDERS[device] not in ort.get_available_providers():
        raise FtxError(
            f"this onnxruntime cannot use the device {device}",
            "install the build that can: pip install 'ftx-toolchain[serve,gpu]'",
            "or run on the processor: --device cpu",
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the processor from whatever shares it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _ERRORS_ONLY
    session = ort.InferenceSession(str(folder / variant["file"]), options, providers=[PROVIDERS[device]])
    return OnnxSession(session, device)
