"""The metrics of a fine-tuning: computed on the validation rows, and read from the Trainer's log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Figures = dict[str, Any]
"""Of a model on the validation rows: the task's figures, `loss`, and, where there are classes, `per_class`."""


def history(log: Sequence[Mapping[str, Any]], steps_per_epoch: int, shown: Sequence[str]) -> list[dict[str, Any]]:
    """A row per epoch: its mean training loss, its last learning rate, and what its evaluation gave: the loss, and the
    figures `shown`."""
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
                    **{name: entry[f"eval_{name}"] for name in shown},
                    "learning_rate": learning_rate,
                }
            )
            losses = []
    return rows


def validation_figures(log: Sequence[Mapping[str, Any]], step: int, names: Sequence[str]) -> Figures:
    """The figures of the evaluation after `step`, in the order of `names`."""
    entry = next(entry for entry in log if entry["step"] == step and "eval_loss" in entry)
    return {name: entry[f"eval_{name}"] for name in (*names, "loss", "per_class") if f"eval_{name}" in entry}
