"""The mean of the weights over the last steps of a training: stochastic weight averaging.

It often generalises better than the weights of any single step (Izmailov et al. 2018, "Averaging Weights Leads to
Wider Optima and Better Generalization"), and costs one more copy of what trains.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.optim.swa_utils import get_swa_multi_avg_fn
from transformers import TrainerCallback, TrainerControl, TrainerState

from ftx_plugins.train.config import TrainConfig

FILE = "average.safetensors"
"""In each save: the mean up to there."""


class WeightAverage(TrainerCallback):  # type: ignore[misc]
    """Averages the weights of `model` that train, after each optimizer step of the last `share` of them."""

    def __init__(self, model: Any, share: float) -> None:
        self._trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._share = share
        self._mean: dict[str, torch.Tensor] = {}
        self._steps = 0
        self._take_in = get_swa_multi_avg_fn()  # type: ignore[no-untyped-call]

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.global_step > state.max_steps - math.ceil(state.max_steps * self._share):
            self._add()

    def save(self, folder: Path) -> None:
        """Write what is averaged so far into a save; nothing, where nothing is."""
        if self._mean:
            save_file(self._mean, folder / FILE, metadata={"steps": str(self._steps)})

    def load(self, folder: Path) -> None:
        """Go on from a save."""
        if (folder / FILE).exists():
            self._mean, self._steps = read_average(folder / FILE)

    @torch.no_grad()
    def _add(self) -> None:
        current = [value.detach() for value in self._trained.values()]
        if not self._mean:
            self._mean = {name: value.clone() for name, value in zip(self._trained, current, strict=True)}
        else:
            # Those of a save are on the processor until the model's device is known.
            self._mean = {name: value.to(current[0].device) for name, value in self._mean.items()}
            self._take_in([self._mean[name] for name in self._trained], current, self._steps)
        self._steps += 1


def averaging(config: TrainConfig, model: Any) -> WeightAverage | None:
    """The average that the settings ask for."""
    return WeightAverage(model, config.average_share) if config.average == "last-steps" else None


def read_average(file: Path) -> tuple[dict[str, torch.Tensor], int]:
    """The mean weights by name, on the processor, and the number of steps in them."""
    with safe_open(file, framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, int(opened.metadata()["steps"])  # noqa: SIM118
