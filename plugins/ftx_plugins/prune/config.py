"""Settings of the prune steps."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ftx.settings import StepConfig


class CalibratedConfig(StepConfig):
    """What is removed is chosen on calibration rows."""

    calibration_rows: int = Field(
        default=1024, ge=8, le=1_000_000, description="training rows, each class in proportion, on which to choose"
    )


class RecoveryConfig(CalibratedConfig):
    """Training behind the removal, to be again as the model was before: distillation from it."""

    recovery_rows: int = Field(default=0, ge=0, description="training rows to recover on; 0: all")
    recovery_epochs: int = Field(default=2, ge=0, le=1000, description="passes over these rows; 0: no recovery")
    learning_rate: float = Field(default=1e-4, gt=0, le=1, description="peak learning rate of the recovery, per step")
    batch_size: int = Field(default=32, ge=1, le=65536, description="rows in a forward pass")


class StructuredConfig(RecoveryConfig):
    """Attention heads and FFN neurons, as many from each layer as it can spare."""

    flops: float = Field(
        default=0.5, gt=0, lt=1, description="share of the encoder's operations to keep, at the data's mean length"
    )
    latency: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of the encoder's time to keep, in torch on this machine, in batches; instead of flops",
    )
    rounds: int = Field(default=4, ge=1, le=100, description="rounds in which the target is reached")
    ffn_multiple: int = Field(default=32, ge=1, le=4096, description="neurons; FFN widths are multiples of it")


class WidthConfig(RecoveryConfig):
    """FFN neurons, the same number in each layer."""

    width: int | None = Field(
        default=None, ge=1, description="neurons that each layer's FFN keeps; not set: half of the narrowest's"
    )


class LayersConfig(RecoveryConfig):
    """Whole layers."""

    keep: int | None = Field(
        default=None, ge=1, description="layers to keep: those that the calibration rows miss most; not set: half"
    )
    layers: tuple[int, ...] | None = Field(
        default=None, min_length=1, description="the layers to keep, by number, the first being 0; instead of keep"
    )

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.keep is not None and self.layers is not None:
            raise ValueError("set keep or layers, not both")
        if self.layers is not None and list(self.layers) != sorted(set(self.layers)):
            raise ValueError("name each layer once, in rising order: a layer's place is where it was trained")
        return self


class VocabularyConfig(StepConfig):
    """Tokens of the tokenizer, with their rows of the embedding."""

    min_count: int = Field(default=1, ge=1, description="times a token occurs in the training rows to count as used")
    margin: float = Field(
        default=0.25,
        ge=0,
        le=100,
        description="further tokens, as a share of those used, in the vocabulary's own order (the frequent ones first)",
    )


class MagnitudeConfig(StepConfig):
    """Weights set to zero in place."""

    pattern: Literal["2:4", "unstructured"] = Field(
        default="2:4", description="2:4: two of each four weights in a row; unstructured: the smallest of each matrix"
    )
    sparsity: float = Field(
        default=0.5, gt=0, lt=1, description="share of each matrix set to zero; 2:4 is always one half"
    )

    @model_validator(mode="after")
    def _half(self) -> Self:
        if self.pattern == "2:4" and self.sparsity != 0.5:
            raise ValueError("2:4 sets one half to zero: leave sparsity out, or set pattern to unstructured")
        return self
