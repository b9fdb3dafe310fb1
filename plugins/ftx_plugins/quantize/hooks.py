"""The built-in quantize steps."""

from __future__ import annotations

from collections.abc import Iterable

from ftx import Bundle, Checkpoint, Dataset, Step, hookimpl
from ftx.tasks import OF_WHOLE_TEXTS
from ftx_plugins.quantize.config import AutoConfig, CastConfig, DynamicConfig, QatConfig, StaticConfig

PACKAGES = ("torch", "transformers", "onnx", "onnxruntime")
CALIBRATED = (*PACKAGES, "datasets", "tokenizers", "safetensors")

CHECK_FILE = "ftx_plugins.quantize.calibration_file:check_calibration_data"


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
        check=CHECK_FILE,
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
        check=CHECK_FILE,
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
        tasks=OF_WHOLE_TEXTS,
        check=CHECK_FILE,
        requires=CALIBRATED,
        measures=True,
    )
    for name, purpose, check in (
        ("bf16", "for OpenVINO on processors that have it", "ftx_plugins.quantize.check:check_bf16"),
        ("fp16", "for ONNX Runtime on CUDA GPUs", None),
    ):
        yield Step(
            name=name,
            stage="quantize",
            summary=f"{name}, {purpose}",
            takes={"model": Checkpoint | Bundle},
            gives="model",
            config=CastConfig,
            run=f"ftx_plugins.quantize.cast:run_{name}",
            requires=PACKAGES,
            check=check,
        )
