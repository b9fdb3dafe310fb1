"""The settings of `export:numpy`."""

from __future__ import annotations

from pydantic import Field

from ftx import StepConfig


class NumpyConfig(StepConfig):
    """How many texts the variant is tried on."""

    parity_texts: int = Field(64, ge=8, le=4096, description="real texts on which it is compared with the torch model")
    golden_texts: int = Field(16, ge=1, le=1024, description="real texts kept in a new bundle, with their logits")
