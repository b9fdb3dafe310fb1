"""The runtimes that need no torch."""

from __future__ import annotations

from collections.abc import Iterable

from ftx import Runtime, hookimpl


@hookimpl
def ftx_runtimes() -> Iterable[Runtime]:
    yield Runtime(
        name="onnxruntime",
        summary="ONNX Runtime, on the processor or a CUDA GPU",
        load="ftx_serving.runtimes.onnxruntime:load",
        formats=("onnx",),
        devices=("cpu", "cuda"),
        requires=("onnxruntime",),
    )
    yield Runtime(
        name="openvino",
        summary="OpenVINO, on the processor",
        load="ftx_serving.runtimes.openvino:load",
        formats=("openvino",),
        requires=("openvino",),
    )
