"""What the calibration rows say about each sublayer: second moments of its activations and of its gradients.

The labels are drawn from the model's own predictions, as the Fisher information wants, and not taken from the data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ftx_plugins.prune.anatomy import Anatomy, Sublayer
from ftx_plugins.prune.calibration import Calibration
from ftx_plugins.tasks.learning import draw_labels, total_loss


@dataclass
class Statistics:
    """Second moments of one sublayer, float64, where n is the number of its columns and h the hidden size.

    `activations`: of the output projection's input with a constant 1 behind it, shape (n + 1, n + 1), a sum over
    tokens divided by the rows. `gradients`: of the loss by the projection's output, shape (h, h), mean over tokens.
    """

    activations: torch.Tensor
    gradients: torch.Tensor


@dataclass
class _Tap:
    """The last input and output of one output projection, each of shape (rows, length, columns)."""

    part: Sublayer
    input: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    output: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def __call__(self, module: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        self.input, self.output = inputs[0].detach(), output


def collect_statistics(
    anatomy: Anatomy,
    calibration: Calibration,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Statistics]:
    """The statistics of each sublayer, in order, from one pass forward and back over the calibration rows."""
    model = anatomy.model
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    parts = anatomy.sublayers()
    sums = [_empty(part, anatomy.hidden_size, device) for part in parts]
    tokens = 0
    done = 0
    with _tapped(parts) as taps:
        for batch in calibration.batches:
            inputs = {name: values.to(device) for name, values in batch.items()}
            logits = model(**inputs).logits.float()
            drawn = draw_labels(calibration.scoring.task, logits.detach().cpu(), generator)
            loss = total_loss(calibration.scoring.task, logits, drawn.to(device))
            gradients = torch.autograd.grad(loss, [tap.output for tap in taps])
            seen = inputs["attention_mask"].bool()
            for statistics, tap, gradient in zip(sums, taps, gradients, strict=True):
                _add(statistics, tap, gradient, seen)
            tokens += int(seen.sum())
            done += len(drawn)
            progress(done, len(calibration))
    for statistics in sums:
        statistics.activations /= done
        statistics.gradients /= tokens
    return sums


@contextlib.contextmanager
def _tapped(parts: Sequence[Sublayer]) -> Iterator[list[_Tap]]:
    taps = [_Tap(part) for part in parts]
    handles = [tap.part.out.register_forward_hook(tap) for tap in taps]
    try:
        yield taps
    finally:
        for handle in handles:
            handle.remove()


def _empty(part: Sublayer, hidden_size: int, device: torch.device) -> Statistics:
    columns = part.out.in_features + 1
    return Statistics(*(torch.zeros(size, size, dtype=torch.float64, device=device) for size in (columns, hidden_size)))


def _add(statistics: Statistics, tap: _Tap, gradient: torch.Tensor, seen: torch.Tensor) -> None:
    """Add one batch. `gradient` is of shape (rows, length, hidden), `seen` of (rows, length)."""
    values = tap.input
    tokens = values[seen]
    tokens = torch.cat([tokens, tokens.new_ones(len(tokens), 1)], dim=1)
    statistics.activations += tokens.T @ tokens
    gradients = gradient[seen]
    statistics.gradients += gradients.T @ gradients
