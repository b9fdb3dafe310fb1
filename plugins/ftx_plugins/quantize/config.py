"""Settings of the quantize steps."""

from __future__ import annotations

import platform
from typing import Literal

from pydantic import Field

from ftx.machine import processor
from ftx.settings import StepConfig
from ftx_plugins.quantize.recipe import Recipe

INT8_DOT_PRODUCT = ("avx512_vnni", "avx_vnni", "amx_int8")


class DynamicConfig(StepConfig):
    """int8 weights; activations are quantized at each call."""

    weights: Literal["int8"] = Field(default="int8", description="type of the quantized weights; activations: uint8")
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
        """The recipe that these settings mean on this machine."""
        reduce_range = needs_reduced_range() if self.reduce_range == "auto" else self.reduce_range
        return Recipe(
            weights=self.weights,
            per_channel=self.per_channel,
            embeddings=self.embeddings,
            reduce_range=reduce_range,
            exclude=self.exclude,
        )


def needs_reduced_range() -> bool:
    """Whether 8-bit weights can overflow here: on x86 without an int8 dot product.

    Source: ONNX Runtime, "Quantize ONNX models", on U8S8 and saturation of VPMADDUBSW.
    """
    if platform.machine().lower() not in {"x86_64", "amd64", "i686"}:
        return False
    features = processor().rpartition("[")[2].rstrip("]").split()
    return not any(feature in features for feature in INT8_DOT_PRODUCT)
