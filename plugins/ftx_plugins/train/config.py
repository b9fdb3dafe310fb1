"""The settings of `[train]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from ftx.settings import StepConfig

Precision = Literal["bf16", "fp16", "fp32"]
VOTES: Mapping[str, Literal["soft", "hard"]] = {"soft-vote": "soft", "hard-vote": "hard"}
"""Ways to combine seeds that keep all of them."""


class TrainConfig(StepConfig):
    """How a model is fine-tuned. The defaults suit a BERT of base size and some thousand rows."""

    epochs: int = Field(3, ge=1, le=1000, description="passes over the training rows, at most")
    batch_size: int = Field(16, ge=1, le=65536, description="rows in a batch of training, over all processes")
    eval_batch_size: int = Field(32, ge=1, le=65536, description="rows in a forward pass of evaluation")
    gradient_accumulation: int = Field(
        1, ge=1, le=65536, description="batches whose gradients are summed before the weights change"
    )
    learning_rate: float = Field(
        2e-5, gt=0, le=1, description="peak learning rate, per step; a warning outside 1e-6 to 1e-3"
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="how the learning rate falls after the warm-up"
    )
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the learning rate rises from 0")
    optimizer: Literal["adamw", "adafactor"] = Field("adamw", description="the optimizer; adafactor needs less memory")
    weight_decay: float = Field(
        0.01, ge=0, le=1, description="decoupled weight decay, per step and learning rate; not on biases and norms"
    )
    max_grad_norm: float = Field(1.0, ge=0, description="L2 norm to which gradients are clipped; 0 turns it off")
    dropout: float = Field(0.3, ge=0, lt=1, description="share of the inputs dropped in the classification head")
    max_length: int = Field(
        512, ge=4, le=1_000_000, description="longest input in tokens, within what the model can take; the rest is cut"
    )
    group_by_length: bool = Field(True, description="whether a batch holds rows of like length, to pad little")
    mixed_precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto",
        description="number format of the matrix products; auto: bf16 where the hardware has it (on a processor: and "
        "is clearly faster with it, which is timed), else fp16 on a GPU, else fp32",
    )
    unfreeze_last: int | None = Field(
        None, ge=0, description="encoder layers, counted from the head, that train; 0: only the head; not set: all"
    )
    reuse_frozen: bool = Field(
        True,
        description="with unfreeze_last: what the frozen layers give is computed once, kept on disk, and reused in "
        "every epoch",
    )
    lora_rank: int = Field(
        0,
        ge=0,
        le=1024,
        description="rank of LoRA's adapters, which train instead of the encoder's weights and are merged into them at "
        "the end; 0: none; wants a learning rate of 1e-4 to 5e-4",
    )
    lora_alpha: float = Field(
        16.0, gt=0, le=4096, description="with lora_rank: what adapters give counts alpha / rank times"
    )
    lora_dropout: float = Field(
        0.05, ge=0, lt=1, description="with lora_rank: share of the inputs dropped in an adapter"
    )
    lora_targets: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        description="with lora_rank: linear layers that get an adapter, by (the ends of) their names in an encoder "
        "layer, such as query; none: all of them",
    )
    metric: Literal[
        "auto",
        "f1_macro",
        "accuracy",
        "f1_micro",
        "subset_accuracy",
        "rmse",
        "mae",
        "pearson",
        "spearman",
        "entity_f1",
        "token_accuracy",
        "entity_precision",
        "entity_recall",
        "loss",
    ] = Field(
        "auto",
        description="figure on the validation rows by which the best epoch is kept; auto: the task's own (f1_macro; "
        "multi-label f1_micro, regression rmse, token classification entity_f1)",
    )
    thresholds: Literal["best-f1", "half"] = Field(
        "best-f1",
        description="multi-label: from which probability on each label is predicted: that with the best F1 on the "
        "validation rows, or 0.5",
    )
    early_stopping: int = Field(
        2, ge=0, le=1000, description="epochs without a better `metric` after which training stops; 0: never"
    )
    save_minutes: float = Field(
        10.0, ge=0, description="minutes between saves within an epoch, for a killed run to go on from; 0: none"
    )
    loss: Literal["cross-entropy", "focal"] = Field(
        "cross-entropy", description="focal: rows that are right already count little, for classes that are rare"
    )
    focal_gamma: float = Field(2.0, gt=0, le=10, description="how little: the focal loss's exponent")
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(ge=0)]] | None = Field(
        None, description="weight of each label in the loss, such as {spam = 3}; balanced: by how rare each is"
    )
    sampler: Literal["plain", "balanced"] = Field(
        "plain", description="balanced: each epoch draws as many rows of each label, of rare ones repeatedly"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of a row's weight that is spread over all labels"
    )
    r_drop: float = Field(
        0.0,
        ge=0,
        le=100,
        description="weight of R-Drop, which trains two passes over a row to agree: less over-fitting, twice the time",
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="factor on the learning rate from each encoder layer to the one below; 1: none"
    )
    gradient_checkpointing: bool = Field(
        False, description="compute activations again instead of keeping them: less memory, about a third more time"
    )
    compile: bool = Field(
        False, description="whether torch.compile makes kernels for this model first; needs a C++ compiler, and a while"
    )
    average: Literal["off", "last-steps"] = Field(
        "off", description="last-steps: the mean of the weights after each of the last steps (SWA), if it is better"
    )
    average_share: float = Field(0.25, gt=0, le=1, description="with average: how many of all steps, as a share")
    keep_average: Literal["better", "always"] = Field(
        "better", description="with average: whether it must be better by `metric` than the best epoch to be kept"
    )
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), max_length=64, description="train once for each of these seeds, and combine; none: once, by the run's seed"
    )
    combine: Literal["greedy", "uniform", "best", "soft-vote", "hard-vote"] = Field(
        "greedy",
        description="what becomes of the seeds: greedy, uniform: the mean of their weights, of those that help or of "
        "all; best: the best of them; soft-vote, hard-vote: all of them as one model, whose answer is the mean of "
        "their probabilities, or the label with the most votes",
    )
    new_head: bool = Field(False, description="whether a trained classification head is replaced by a new one")

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is named twice: the same seed gives the same model")
        return seeds

    @model_validator(mode="after")
    def _someone_to_vote(self) -> Self:
        if self.combine in VOTES and len(self.seeds) < 2:
            raise ValueError(f"combine = {self.combine!r} needs two seeds at least, such as seeds = [1, 2, 3]")
        return self
