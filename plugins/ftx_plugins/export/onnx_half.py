"""fp16 ONNX, for GPUs."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from ftx_plugins.export.onnx_exporter import save_onnx


def cast_onnx(source: Path, target: Path) -> None:
    """Write the fp32 model `source` in fp16 to `target`; its inputs and logits keep their types."""
    model = convert_float_to_float16(onnx.load(str(source)), keep_io_types=True)
    save_onnx(model, target)
