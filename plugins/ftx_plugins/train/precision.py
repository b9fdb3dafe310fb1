"""Which number format to train in. Imports nothing heavy: plans are checked with it too."""

from __future__ import annotations

from typing import Literal

from ftx import FtxError
from ftx.machine import BF16, flags_of, processor
from ftx_plugins.train.config import Precision


def processor_has_bf16() -> bool:
    return not BF16.isdisjoint(flags_of(processor()))


def has_bf16(device: str) -> bool:
    """Whether `device` (`cpu` or `cuda`) computes in bf16 by itself."""
    if device != "cuda":
        return processor_has_bf16()
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def resolve_precision(wanted: Literal["auto", "bf16", "fp16", "fp32"], device: str, has_bf16: bool) -> Precision:
    """The format to train in on `device` (`cpu` or `cuda`); `FtxError` where the device lacks the one asked for."""
    if wanted == "auto":
        return "bf16" if has_bf16 else "fp16" if device == "cuda" else "fp32"
    if wanted == "bf16" and not has_bf16:
        raise FtxError(f"this {_name(device)} has no bf16", 'set train.mixed_precision = "auto"')
    if wanted == "fp16" and device != "cuda":
        raise FtxError("fp16 needs a GPU: on a processor it is not trained in", 'set train.mixed_precision = "auto"')
    return wanted


def _name(device: str) -> str:
    return "GPU" if device == "cuda" else f"processor ({processor()})"
