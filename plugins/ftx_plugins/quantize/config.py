"""Settings of the quantize steps."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from ftx.machine import INT8_DOT_PRODUCT, flags_of, processor
from ftx.settings import FilePath, StepConfig
from ftx_plugins.quantize.recipe import Calibration, Recipe

X86 = ("x86_64", "amd64", "i686")


class Int8Config(StepConfig):
    """What every int8 scheme has."""

    weights: Literal["int8"] = Field(default="int8", description="type of the quantized weights")
    per_channel: bool = Field(default=True, description="a scale for each output channel, not one a weight")
    embeddings: bool = Field(
        default=False, description="quantize embeddings too (uint8, one scale each): smaller files, some accuracy"
    )
    reduce_range: bool | Literal["auto"] = Field(
        default="auto",
        description="weights in 7 bits, so that x86 processors without VNNI do not overflow; auto: on for those alone",
    )
    exclude: tuple[str, ...] = Field(
        default=(),
        description="patterns of module names that stay in fp32, each with all below it, such as classifier or *.query",
    )

    def recipe(self) -> Recipe:
        """The recipe that these settings mean on this machine: dynamic, where the scheme says nothing else."""
        return Recipe(
            weights=self.weights,
            per_channel=self.per_channel,
            embeddings=self.embeddings,
            reduce_range=needs_reduced_range() if self.reduce_range == "auto" else self.reduce_range,
            exclude=self.exclude,
        )


class DynamicConfig(Int8Config):
    """int8 weights; activations, in uint8, are quantized at each call."""


class StaticConfig(Int8Config):
    """int8 weights, and inputs of linear layers with ranges found by calibration."""

    activations: Literal["auto", "uint8", "int8"] = Field(
        default="auto",
        description="type of the linear layers' inputs; auto: uint8 on x86, int8 (symmetric) on Arm, the faster there",
    )
    calibration: Calibration | Literal["auto"] = Field(
        default="auto",
        description="how a range is chosen from what was seen; auto: the one nearest to fp32 on validation rows, by KL",
    )
    percentile: float = Field(
        default=99.999, gt=50, lt=100, description="share (%) of the values seen that the method percentile keeps"
    )
    smooth: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = Field(
        default="auto",
        description="strength (0 to 1) of moving the channels' spread from inputs to weights; auto: nearest to fp32",
    )
    calibration_rows: int = Field(
        default=256,
        ge=1,
        le=65536,
        description="rows to calibrate on: a stratified sample of the training split, a random one of calibration_data",
    )
    embeddings: bool = Field(
        default=True, description="quantize embeddings too (int8, a scale for each row): a file a third as large"
    )
    calibration_data: FilePath | None = Field(
        default=None,
        description="file with the texts to calibrate on (csv, tsv, json, jsonl, ndjson, parquet), for the train split",
    )
    calibration_text: str = Field(
        default="text", min_length=1, description="name of the column with the text in calibration_data"
    )
    calibration_text_pair: str | None = Field(
        default=None, min_length=1, description="name of its column with the second text of a pair"
    )
    choice_rows: int = Field(
        default=256, ge=1, le=65536, description="rows of the validation split on which what is auto is chosen"
    )

    def recipe(self) -> Recipe:
        """The recipe that these settings mean on this machine, not calibrated yet."""
        activations = self.activations
        if activations == "auto":
            activations = "uint8" if platform.machine().lower() in X86 else "int8"
        return replace(super().recipe(), scheme="static", activations=activations)


class QatConfig(StaticConfig):
    """Static int8 with weights that are trained to live with it (quantization-aware training)."""

    rows: int = Field(default=0, ge=0, description="training rows to train on, each class in proportion; 0: all")
    epochs: int = Field(default=1, ge=1, le=1000, description="passes over these rows")
    learning_rate: float = Field(default=2e-5, gt=0, le=1, description="peak learning rate of the training, per step")
    batch_size: int = Field(default=32, ge=1, le=65536, description="rows in a forward pass")


class AutoConfig(StaticConfig):
    """Static int8 that leaves in fp32 what it must."""

    flip_rate: float = Field(
        default=0.01, ge=0, le=1, description="share of held-out rows whose label may change, at most"
    )
    accuracy_drop: float = Field(
        default=0.005, ge=0, le=1, description="accuracy that may be lost on held-out rows, absolute, at most"
    )
    held_out_rows: int = Field(
        default=1000,
        ge=1,
        le=65536,
        description="rows of the validation split, beside choice_rows, to hold it against",
    )
    sensitivity_rows: int = Field(
        default=128, ge=1, le=65536, description="calibration rows on which each layer's sensitivity is measured"
    )


class CastConfig(StepConfig):
    """A float type of 16 bits for the whole model."""


def needs_reduced_range() -> bool:
    """Whether 8-bit weights can overflow here: on x86 without an int8 dot product.

    Source: ONNX Runtime, "Quantize ONNX models", on U8S8 and saturation of VPMADDUBSW.
    """
    return platform.machine().lower() in X86 and INT8_DOT_PRODUCT.isdisjoint(flags_of(processor()))
