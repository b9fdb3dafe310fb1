"""The adapter to TorchScript, which torch has deprecated: its warnings are silenced here, and here alone."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ftx_plugins.checkpoint import quiet_transformers


class LogitsOnly(torch.nn.Module):
    """The model with its inputs in a fixed order and the logits for an output: TorchScript knows no output classes."""

    def __init__(self, model: Any, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(**dict(zip(self.names, inputs, strict=True))).logits
        return logits


def save_torchscript(model: Any, inputs: dict[str, torch.Tensor], file: Path) -> None:
    """Trace `model` in evaluation mode on `inputs`, freeze it, and write it to `file`.

    `inputs` are int64 of shape (batch, length), with padding and holes in the mask, so that no branch for a full mask
    is recorded. The module takes its inputs in their order.
    """
    with torch.inference_mode(), _quiet():
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            LogitsOnly(model, tuple(inputs)).eval(), tuple(inputs.values()), strict=False, check_trace=False
        )
        torch.jit.save(torch.jit.freeze(traced), str(file))


def load_torchscript(file: Path, device: str = "cpu") -> Any:
    """The module in `file`. Its archive holds pickles: check the file's hash first."""
    with _quiet():
        # Unpacking quantized weights warns once a process, from C++ and straight to stderr. Here that once is spent
        # where Python's filters still see it.
        torch.quantize_per_tensor(torch.zeros(1), 1.0, 0, torch.qint8)
        return torch.jit.load(str(file), map_location=device).eval()  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with quiet_transformers(), warnings.catch_warnings():
        # The tracer's own warnings are about what the parity checks look for.
        warnings.simplefilter("ignore")
        yield
