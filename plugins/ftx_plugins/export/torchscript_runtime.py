"""Variants in TorchScript, run by torch.

Torch's threads spin while they wait: where other work shares the cores, a call can take a hundred times longer. Set
`OMP_WAIT_POLICY=PASSIVE` before the process starts, or give it one thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ftx_plugins.export.torchscript import load_torchscript

INPUT_ORDER = ("input_ids", "attention_mask", "token_type_ids")
"""The order in which an exported module takes the inputs that it has."""


class TorchscriptSession:
    """A loaded module; calls may come from several threads."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __call__(self, **inputs: np.ndarray) -> np.ndarray:
        tensors = [torch.from_numpy(inputs[name]) for name in INPUT_ORDER if name in inputs]
        with torch.inference_mode():
            logits: np.ndarray = self._module(*tensors).numpy()
        return logits


def load(
    folder: Path, variant: Mapping[str, Any], device: str = "cpu", threads: int | None = None
) -> TorchscriptSession:
    """The variant (its entry in the bundle's `meta`) of the bundle in `folder`.

    `threads` holds for the whole process, as torch's threads do; None leaves them as they are.
    """
    if threads:
        torch.set_num_threads(threads)
    return TorchscriptSession(load_torchscript(folder / variant["file"], device))
