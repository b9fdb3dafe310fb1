"""The metrics of a fine-tuning, from the Trainer's log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FIGURES = ("accuracy", "f1_macro", "f1_micro", "loss", "per_class")


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


def validation_figures(log: Sequence[Mapping[str, Any]], step: int) -> dict[str, Any]:
    """The figures of the evaluation after `step`."""
    entry = next(entry for entry in log if entry["step"] == step and "eval_loss" in entry)
    return {name: entry[f"eval_{name}"] for name in FIGURES}
