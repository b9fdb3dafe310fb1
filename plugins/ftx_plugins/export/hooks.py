"""The built-in export steps, and the runtime that needs torch."""

from __future__ import annotations

from collections.abc import Iterable

from ftx import Bundle, Checkpoint, Dataset, Runtime, Step, hookimpl
from ftx_plugins.export.config import BundleConfig, OnnxConfig, OpenvinoConfig, TorchscriptConfig

TAKES = {"model": Checkpoint, "data": Dataset, "bundle": Bundle | None}
TORCH = ("torch", "transformers", "tokenizers", "datasets")
ONNX = (*TORCH, "onnx", "onnxscript", "onnxruntime")


@hookimpl
def ftx_export() -> Iterable[Step]:
    yield Step(
        name="bundle",
        stage="export",
        summary="a bundle with the formats of [export] formats, each variant checked against torch",
        takes=TAKES,
        gives=Bundle,
        config=BundleConfig,
        run="ftx_plugins.export.run:run_bundle",
        requires=ONNX,
        version=3,
        default=True,
        check="ftx_plugins.export.check:check_bundle",
    )
    yield Step(
        name="onnx",
        stage="export",
        summary="a bundle with ONNX, for ONNX Runtime",
        takes=TAKES,
        gives=Bundle,
        config=OnnxConfig,
        run="ftx_plugins.export.run:run_onnx",
        requires=ONNX,
        version=3,
        check="ftx_plugins.export.check:check_export",
    )
    yield Step(
        name="openvino",
        stage="export",
        summary="a bundle with OpenVINO's IR",
        takes=TAKES,
        gives=Bundle,
        config=OpenvinoConfig,
        run="ftx_plugins.export.run:run_openvino",
        requires=(*TORCH, "openvino"),
        version=3,
        check="ftx_plugins.export.check:check_export",
    )
    yield Step(
        name="torchscript",
        stage="export",
        summary="a bundle with TorchScript, for libtorch",
        takes=TAKES,
        gives=Bundle,
        config=TorchscriptConfig,
        run="ftx_plugins.export.run:run_torchscript",
        requires=TORCH,
        version=3,
        check="ftx_plugins.export.check:check_export",
    )


@hookimpl
def ftx_runtimes() -> Iterable[Runtime]:
    yield Runtime(
        name="torchscript",
        summary="TorchScript, run by torch on the processor",
        load="ftx_plugins.export.torchscript_runtime:load",
        formats=("torchscript",),
        requires=("torch",),
        process_threads=True,
    )
