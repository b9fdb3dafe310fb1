"""What a fine-tuning works on: the same for each of its seeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ftx import Context
from ftx.tasks import REGRESSION
from ftx_plugins.tasks.alignment import compact, compact_logits
from ftx_plugins.tasks.scaling import Scale
from ftx_plugins.tasks.scoring import Scoring
from ftx_plugins.train.config import Precision, TrainConfig
from ftx_plugins.train.head import Head
from ftx_plugins.train.losses import Objective
from ftx_plugins.train.precision_choice import PrecisionChoice
from ftx_plugins.train.report import Figures
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
    scoring: Scoring
    """Of the head's outputs."""
    scale: Scale
    """Regression: of the targets; the rows' labels, and what the model gives while it is trained, are standardised."""

    @property
    def precision(self) -> Precision:
        return self.choice.precision

    @property
    def metric(self) -> str:
        """The figure that the best epoch is chosen by."""
        return self.scoring.metric if self.config.metric == "auto" else self.config.metric

    def figures(self, labels: np.ndarray, logits: np.ndarray) -> Figures:
        """All figures but the loss, of what the model gives for rows with these labels."""
        if self.scoring.task == REGRESSION:
            labels, logits = self.scale.restore(labels), self.scale.restore(logits)
        return self.scoring.compute(labels, logits)

    def figures_of_batches(self, labels: np.ndarray, logits: np.ndarray) -> Figures:
        """The same of what the Trainer has gathered: of tokens, all of them, padded."""
        if self.collator.tags:
            labels, logits = compact(labels), compact_logits(labels, logits)
        return self.figures(labels, logits)
