"""What a sublayer costs, by how many units it has: seconds, measured in torch on this machine.

The idea of a table per width, instead of one number for the model, is that of ZipLM (Kurtic et al. 2023): time does not
fall in proportion to operations. All widths take turns, so that a busy moment of the machine falls on all of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from ftx import Context
from ftx_plugins.prune.anatomy import Anatomy, Attention, FeedForward, Sublayer
from ftx_plugins.prune.calibration import BATCH, Calibration

MEASURED = 12
"""Widths measured of each kind of sublayer; those between are interpolated."""
TURNS = 21


def latencies(
    anatomy: Anatomy, options: Sequence[Sequence[int]], calibration: Calibration, context: Context
) -> list[dict[int, float]]:
    """For each sublayer the seconds that each of its `options` (numbers of units) takes, in batches of mean length."""
    parts = anatomy.sublayers()
    tables: dict[type, tuple[np.ndarray, np.ndarray]] = {}
    for kind in (Attention, FeedForward):
        alike = [place for place, part in enumerate(parts) if isinstance(part, kind)]
        units = _spread(sorted({count for place in alike for count in options[place]}))
        seconds = _measure(parts[alike[0]], units, anatomy.hidden_size, calibration.mean_length, context)
        tables[kind] = units, seconds
    return [
        dict(zip(choice, np.interp(choice, *tables[type(part)]).tolist(), strict=True))
        for part, choice in zip(parts, options, strict=True)
    ]


def _spread(units: Sequence[int]) -> np.ndarray:
    """At most `MEASURED` of these numbers, the least and the greatest among them."""
    places = np.unique(np.linspace(0, len(units) - 1, MEASURED).round().astype(int))
    return np.asarray([units[place] for place in places])


def _measure(part: Sublayer, units: np.ndarray, hidden_size: int, length: float, context: Context) -> np.ndarray:
    """Least seconds of a sublayer like `part`, for each number of `units`; never falling as they grow.

    What else the machine does can only add to a time: the least is the one nearest to the sublayer's own.
    """
    modules = [_Stand(part, int(count), hidden_size).to(context.device).eval() for count in units]
    inputs = torch.randn(BATCH, max(1, round(length)), hidden_size, device=context.device)
    seconds = np.zeros((TURNS, len(units)))
    with torch.inference_mode():
        for module in modules:
            module(inputs)
        for turn in range(TURNS):
            for place, module in enumerate(modules):
                _wait(context.device)
                started = time.perf_counter()
                module(inputs)
                _wait(context.device)
                seconds[turn, place] = time.perf_counter() - started
            context.progress(turn + 1, TURNS, "turns", timing=type(part).__name__)
    return np.maximum.accumulate(seconds.min(axis=0))


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


class _Stand(nn.Module):
    """Stands for a sublayer with so many units: the same matrix products, whatever the family."""

    def __init__(self, part: Sublayer, units: int, hidden_size: int) -> None:
        super().__init__()
        width = units * part.size
        self.attends = isinstance(part, Attention)
        self.size = part.size
        self.projections = len(part.into) * part.blocks
        self.into = nn.Linear(hidden_size, width * self.projections)
        self.out = nn.Linear(width, hidden_size)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        wide = self.into(inputs)
        if self.attends:
            parts = wide.view(*inputs.shape[:2], 3, -1, self.size).transpose(1, 3).unbind(dim=2)
            mixed = scaled_dot_product_attention(*parts).transpose(1, 2).flatten(start_dim=2)
        else:
            value, *gate = wide.chunk(self.projections, dim=-1)
            mixed = gelu(value) * gate[0] if gate else gelu(value)
        result: torch.Tensor = self.out(mixed)
        return result
