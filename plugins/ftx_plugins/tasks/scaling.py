"""Regression is learnt on standardised targets; the scale is then folded into the head.

With raw targets of, say, 0 to 100, the usual learning rates need many epochs only to reach their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ftx import FtxError


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of the training targets."""

    mean: float = 0.0
    std: float = 1.0

    def standardise(self, values: np.ndarray) -> np.ndarray:
        return np.asarray((values - self.mean) / self.std, dtype=np.float32)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """In units of the target again."""
        return values * self.std + self.mean

    def fold(self, model: Any) -> None:
        """Make a model that gives standardised numbers give them in units of the target."""
        output = output_layer(model)
        with torch.no_grad():
            output.weight.mul_(self.std)
            output.bias.mul_(self.std).add_(self.mean)

    def unfold(self, model: Any) -> None:
        """The other way round: for a trained head that is trained further."""
        output = output_layer(model)
        with torch.no_grad():
            output.weight.div_(self.std)
            output.bias.sub_(self.mean).div_(self.std)


def output_layer(model: Any) -> nn.Linear:
    """The last linear layer of the head; `FtxError` where it has none that gives one number."""
    prefix = model.base_model_prefix
    heads = [child for name, child in model.named_children() if name != prefix]
    layers = [module for head in heads for module in head.modules() if isinstance(module, nn.Linear)]
    outputs = [layer for layer in layers if layer.out_features == 1 and layer.bias is not None]
    if not outputs:
        raise FtxError(
            f"{type(model).__name__} ends in no linear layer with one output and a bias, so it cannot learn a number",
            "use another encoder, such as a BERT: model.name",
        )
    return outputs[-1]
