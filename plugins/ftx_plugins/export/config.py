"""Settings of the export steps."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ftx.settings import StepConfig

Format = Literal["openvino", "onnx", "torchscript"]
"""In order of preference."""


class ExportConfig(StepConfig):
    """Settings that every format has."""

    parity_texts: int = Field(
        default=64, ge=8, le=4096, description="real texts on which each variant is compared with the torch model"
    )
    golden_texts: int = Field(
        default=16, ge=1, le=1024, description="real texts kept in the bundle with the logits expected of each variant"
    )
    temperature_rows: int = Field(
        default=512,
        ge=0,
        description="validation rows on which the temperature of the scores is fitted; 0: it stays 1",
    )
    long_text: Literal["truncate", "window"] = Field(
        default="truncate",
        description="a text longer than the model's input is cut, or read in overlapping windows, up to 16, whose "
        "logits are averaged",
    )
    abstain_below: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="score of the best label below which an answer is marked as abstained; none: never",
    )


class TorchscriptConfig(ExportConfig):
    """TorchScript alone."""


class OpenvinoConfig(ExportConfig):
    """OpenVINO alone."""


class OnnxConfig(ExportConfig):
    """ONNX alone."""

    opset: int | None = Field(
        default=None, ge=18, le=25, description="version of the ONNX operator set; the exporter's own where not given"
    )
    target: Literal["cpu", "cuda"] = Field(
        default="cpu", description="what ONNX is meant for; cuda: a variant in fp16, fused for CUDA GPUs, besides"
    )
    fuse: bool = Field(
        default=False,
        description="fuse into operators of ONNX Runtime alone: 4% to 9% faster alone, up to 8% slower in batches",
    )


class BundleConfig(OnnxConfig):
    """Several formats in one bundle."""

    formats: tuple[Format, ...] = Field(
        default=("openvino", "onnx", "torchscript"),
        min_length=1,
        description="formats to write, each in fp32 and as the recipe says",
    )
