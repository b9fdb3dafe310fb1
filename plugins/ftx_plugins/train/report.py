"""The metrics of a fine-tuning: computed on the validation rows, and read from the Trainer's log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftx_plugins.metrics import classification

Figures = dict[str, Any]
"""Of a model on the validation rows, by the names in `FIGURES`."""
FIGURES = ("accuracy", "f1_macro", "f1_micro", "loss", "per_class")


def compute_figures(labels: np.ndarray, logits: np.ndarray, names: Sequence[str]) -> Figures:
    """All of `FIGURES` but the loss. `labels` are int64 of shape (rows,), `logits` of shape (rows, classes)."""
    return {
        "accuracy": classification.accuracy(labels, logits, names),
        "f1_macro": classification.f1_macro(labels, logits, names),
        "f1_micro": classification.f1_micro(labels, logits, names),
        "per_class": classification.per_class(labels, logits, names),
    }


def history(log: Sequence[Mapping[str, Any]], steps_per_epoch: int) -> list[dict[str, Any]]:
    """A row per epoch: its mean training loss, its last learning rate, and what its evaluation gave."""
    rows: list[dict[str, Any]] = []
    losses: list[tuple[int, float]] = []
    learning_rate = 0.0
    logged = 0
    for entry in log:
        step = entry["step"]
        if "loss" in entry:
            losses.append((step - logged, entry["loss"]))
            learning_rate = entry["learning_rate"]
            logged = step
        elif "eval_loss" in entry:
            rows.append(
                {
                    "epoch": step // steps_per_epoch,
                    "train_loss": sum(count * loss for count, loss in losses) / max(sum(c for c, _ in losses), 1),
                    "eval_loss": entry["eval_loss"],
                    "accuracy": entry["eval_accuracy"],
                    "f1_macro": entry["eval_f1_macro"],
                    "learning_rate": learning_rate,
                }
            )
            losses = []
    return rows


def validation_figures(log: Sequence[Mapping[str, Any]], step: int) -> Figures:
    """The figures of the evaluation after `step`."""
    entry = next(entry for entry in log if entry["step"] == step and "eval_loss" in entry)
    return {name: entry[f"eval_{name}"] for name in FIGURES}
