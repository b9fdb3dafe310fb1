"""The settings of `[cluster]`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ftx import StepConfig


class KmeansConfig(StepConfig):
    """How weights are shared."""

    clusters: int = Field(256, ge=2, le=65536, description="values that the weights of one matrix share")
    start: Literal["linear", "quantile"] = Field(
        "linear",
        description="where the values begin: evenly over the range, which keeps large weights apart, or by quantiles",
    )
    iterations: int = Field(50, ge=1, le=10_000, description="rounds of k-means, at most; it stops when nothing moves")
    embeddings: bool = Field(True, description="whether embeddings share values too")
