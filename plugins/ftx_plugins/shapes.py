"""Linear layers of other sizes than the configuration says: recorded in it, and rebuilt before weights are loaded.

`config.ftx_shapes` maps a layer's name to its shape, [out, in]. It names the layers themselves, so that a pruned
checkpoint loads without the table of architectures that it was pruned by.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ftx.errors import FtxError

FIELD = "ftx_shapes"

Shapes = Mapping[str, Sequence[int]]


def record_shapes(model: Any) -> None:
    """Put into the model's configuration the shapes that differ from what the configuration alone would give."""
    config = model.config
    if hasattr(config, FIELD):
        delattr(config, FIELD)
    with torch.device("meta"):
        stock = type(model)(copy.deepcopy(config))
    expected = {name: linear.weight.shape for name, linear in _linears(stock)}
    shapes = {name: list(linear.weight.shape) for name, linear in _linears(model)}
    if uneven := {name: shape for name, shape in shapes.items() if shape != list(expected[name])}:
        setattr(config, FIELD, uneven)


def with_shapes(kind: type[Any], shapes: Shapes) -> type[Any]:
    """The model class `kind`, made with linear layers of these shapes: its `from_pretrained` then loads strictly."""

    def __init__(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        kind.__init__(self, config, *args, **kwargs)
        _reshape(self, shapes)

    return type(kind.__name__, (kind,), {"__init__": __init__, "__module__": kind.__module__})


def _reshape(model: nn.Module, shapes: Shapes) -> None:
    linears = dict(_linears(model))
    for name, shape in shapes.items():
        if name not in linears:
            raise FtxError(
                f"config.json gives a shape for {name}, which is no linear layer of {type(model).__name__}",
                "prune the model again: ftx run prune",
            )
        out_features, in_features = shape
        old = linears[name]
        weight = old.weight
        new = nn.Linear(in_features, out_features, old.bias is not None, device=weight.device, dtype=weight.dtype)
        model.set_submodule(name, new)


def _linears(model: nn.Module) -> list[tuple[str, nn.Linear]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
