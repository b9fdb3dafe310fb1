"""The built-in quantize steps."""

from __future__ import annotations

from collections.abc import Iterable

from ftx import Bundle, Checkpoint, Dataset, Step, hookimpl
from ftx_plugins.quantize.config import AutoConfig, CastConfig, DynamicConfig, QatConfig, StaticConfig

PACKAGES = ("torch", "transformers", "onnx", "onnxruntime")
CALIBRATED = (*PACKAGES, "datasets", "tokenizers", "safetensors")


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
        requires=PACKAGES,
        # `reduce_range = "auto"` asks the processor.
        measures=True,
    )
    yield Step(
        name="static",
        stage="quantize",
        summary="int8 with calibrated activations: a text's label does not depend on its batch",
        takes={"model": Checkpoint | Bundle, "data": Dataset},
        gives="model",
        config=StaticConfig,
        run="ftx_plugins.quantize.static:run",
        check="ftx_plugins.quantize.calibration_file:check_calibration_data",
        requires=CALIBRATED,
        measures=True,
    )
    yield Step(
        name="auto",
        stage="quantize",
        summary="static int8 that leaves the most sensitive layers in fp32, within limits on flips and accuracy",
        takes={"model": Checkpoint | Bundle, "data": Dataset},
        gives="model",
        config=AutoConfig,
        run="ftx_plugins.quantize.auto:run",
        default=True,
        check="ftx_plugins.quantize.calibration_file:check_calibration_data",
        requires=CALIBRATED,
        measures=True,
    )
    yield Step(
        name="qat",
        stage="quantize",
        summary="static int8 with weights trained to live with it, by distillation from the fp32 checkpoint",
        takes={"model": Checkpoint, "data": Dataset},
        gives=Checkpoint,
        config=QatConfig,
        run="ftx_plugins.quantize.qat:run",
        check="ftx_plugins.quantize.calibration_file:check_calibration_data",
        requires=CALIBRATED,
        measures=True,
    )
    yield Step(
        name="bf16",
        stage="quantize",
        summary="bf16, for OpenVINO on processors that have it",
        takes={"model": Checkpoint | Bundle},
        gives="model",
        config=CastConfig,
        run="ftx_plugins.quantize.cast:run_bf16",
        requires=PACKAGES,
        check="ftx_plugins.quantize.check:check_bf16",
    )
    yield Step(
        name="fp16",
        stage="quantize",
        summary="fp16, for ONNX Runtime on CUDA GPUs",
        takes={"model": Checkpoint | Bundle},
        gives="model",
        config=CastConfig,
        run="ftx_plugins.quantize.cast:run_fp16",
        requires=PACKAGES,
    )
