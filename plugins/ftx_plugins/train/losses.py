"""What training minimises: cross-entropy or focal loss, with class weights, smoothed labels and R-Drop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, kl_div

from ftx import FtxError
from ftx.tasks import TEXT_CLASSIFICATION
from ftx_plugins.tasks.learning import counted, total_loss
from ftx_plugins.train.config import TrainConfig


@dataclass(frozen=True)
class Objective:
    """The loss of a row.

    Focal loss multiplies a row's cross-entropy by (1 - p)^gamma, where p is the probability of its label, so that rows
    that are already right count little (Lin et al. 2017, "Focal Loss for Dense Object Detection"); a gamma of 0 is
    cross-entropy. R-Drop runs each row twice under different dropout, and adds the divergence between the two
    predictions (Liang et al. 2021, "R-Drop: Regularized Dropout for Neural Networks").
    """

    weights: tuple[float, ...] | None = None
    """Of each class, in the head's order. It and the following are for one label a row."""
    gamma: float = 0.0
    smoothing: float = 0.0
    r_drop: float = 0.0
    task: str = TEXT_CLASSIFICATION

    def total(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The sum over rows. `logits` is of shape (rows, classes), `labels` int64 of shape (rows,), or as the task has
        them (`tasks.learning`)."""
        if self.task != TEXT_CLASSIFICATION:
            return total_loss(self.task, logits, labels)
        logits = logits.float()
        losses = cross_entropy(logits, labels, reduction="none", label_smoothing=self.smoothing)
        if self.gamma:
            right = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
            losses = losses * (1 - right) ** self.gamma
        if self.weights is not None:
            losses = losses * logits.new_tensor(self.weights)[labels]
        return losses.sum()

    def total_of_pair(self, first: torch.Tensor, second: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The sum over rows that went through twice, each pass with dropout of its own: a row still counts once."""
        mean = (self.total(first, labels) + self.total(second, labels)) / 2
        one, other = first.float().log_softmax(dim=1), second.float().log_softmax(dim=1)
        apart = kl_div(one, other, log_target=True, reduction="sum") + kl_div(
            other, one, log_target=True, reduction="sum"
        )
        return mean + self.r_drop * apart / 2


def objective_of(
    config: TrainConfig, labels: np.ndarray, names: Sequence[str], task: str = TEXT_CLASSIFICATION
) -> Objective:
    """The objective that the settings mean. `labels` are the training rows', int64 of shape (rows,), in the order of
    `names`, the head's.

    Raises `FtxError` where weights name a class that is not there.
    """
    return Objective(
        weights=_weights(config.class_weights, labels, names),
        gamma=config.focal_gamma if config.loss == "focal" else 0.0,
        smoothing=config.label_smoothing,
        r_drop=config.r_drop,
        task=task,
    )


def _weights(
    wanted: str | Mapping[str, float] | None, labels: np.ndarray, names: Sequence[str]
) -> tuple[float, ...] | None:
    """Weights whose mean over the rows is 1, so that the learning rate means the same with and without them."""
    if wanted is None:
        return None
    counts = np.bincount(labels, minlength=len(names))
    if isinstance(wanted, str):
        raw = np.asarray([1 / count if count else 0.0 for count in counts])
    else:
        if unknown := sorted(set(wanted) - set(names)):
            raise FtxError(
                f"train.class_weights names {', '.join(unknown)}, but the labels are {', '.join(names)}",
                "correct the names; a label that is left out has the weight 1",
            )
        raw = np.asarray([wanted.get(name, 1.0) for name in names])
    mean = float((raw * counts).sum() / counts.sum())
    if not mean:
        raise FtxError("train.class_weights gives every training row the weight 0", "raise the weight of a label")
    return tuple((raw / mean).tolist())


class RunningLoss:
    """The loss of a step for the Trainer, whatever its batches; its moving average is kept for the progress.

    On validation rows it is the task's plain loss, so that epochs and settings compare.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._average: torch.Tensor | None = None

    def __call__(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int) -> torch.Tensor:
        logits = outputs["logits"]
        if not torch.is_grad_enabled():
            return total_loss(self._objective.task, logits, labels) / num_items_in_batch
        if self._objective.r_drop:
            total = self._objective.total_of_pair(logits[: len(labels)], logits[len(labels) :], labels)
        else:
            total = self._objective.total(logits, labels)
        mean = total.detach() / counted(self._objective.task, labels)
        self._average = mean if self._average is None else self._average.lerp(mean, 0.05)
        return total / num_items_in_batch

    def value(self) -> float:
        return float(self._average) if self._average is not None else math.nan
