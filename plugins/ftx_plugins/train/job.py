"""What a fine-tuning works on: the same for each of its seeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ftx import Context
from ftx_plugins.train.config import Precision, TrainConfig
from ftx_plugins.train.head import Head
from ftx_plugins.train.losses import Objective
from ftx_plugins.train.precision_choice import PrecisionChoice
from ftx_plugins.train.tokens import Collator, TokenizedSplit


@dataclass(frozen=True)
class Job:
    """The rows, how they become batches, and what is minimised on them."""

    source: Path
    """The folder of the model that training starts from."""
    head: Head
    max_length: int
    rows: TokenizedSplit
    validation: TokenizedSplit
    collator: Collator
    objective: Objective
    choice: PrecisionChoice
    config: TrainConfig
    context: Context

    @property
    def precision(self) -> Precision:
        return self.choice.precision
