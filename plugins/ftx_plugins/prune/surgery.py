"""Removing heads, neurons and layers from the weights: linear layers are cut, in place, and the shapes recorded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ftx import FtxError
from ftx_plugins.prune.anatomy import Anatomy, Sublayer
from ftx_plugins.shapes import record_shapes


def keep_units(part: Sublayer, units: Sequence[int]) -> None:
    """Keep these heads of an attention, or these neurons of a feed-forward network; the others are gone."""
    if not units:
        raise ValueError("a sublayer keeps one unit at least")
    columns = columns_of(units, part.size, part.out.weight.device)
    width = part.units * part.size
    for linear in part.into:
        rows = torch.cat([columns + block * width for block in range(part.blocks)])
        _keep_rows(linear, rows)
    _keep_columns(part.out, columns)


def keep_layers(anatomy: Anatomy, places: Sequence[int]) -> None:
    """Keep the layers at these places, in rising order. The model then loads as a stock model of fewer layers."""
    config = anatomy.model.config
    if anatomy.architecture.fixed_first_layer and places[0] != 0:
        raise FtxError(
            f"the first layer of {anatomy.architecture.name} is made unlike the others, and has to stay",
            "keep it: prune.layers = [0, …]",
        )
    kept = [anatomy.layers[place] for place in places]
    del anatomy.layers[:]
    anatomy.layers.extend(kept)
    layer_types = getattr(config, "layer_types", None)
    config.num_hidden_layers = len(kept)
    if layer_types is not None:
        config.layer_types = [layer_types[place] for place in places]


def settle(anatomy: Anatomy) -> None:
    """Bring the configuration in line with the weights.

    Where all widths agree, the configuration has a field for them; what remains uneven is recorded beside it.
    """
    widths = set(anatomy.widths())
    if len(widths) == 1:
        setattr(anatomy.model.config, anatomy.architecture.width_field, widths.pop())
    record_shapes(anatomy.model)


def columns_of(units: Sequence[int], size: int, device: torch.device) -> torch.Tensor:
    """The columns of the output projection of `units` of `size` columns each; int64, shape (units · size,)."""
    starts = torch.tensor(list(units), dtype=torch.int64, device=device) * size
    return (starts[:, None] + torch.arange(size, device=device)).reshape(-1)


def _keep_rows(linear: nn.Linear, rows: torch.Tensor) -> None:
    linear.weight = nn.Parameter(linear.weight.detach()[rows].clone(), linear.weight.requires_grad)
    if linear.bias is not None:
        linear.bias = nn.Parameter(linear.bias.detach()[rows].clone(), linear.bias.requires_grad)
    linear.out_features = len(rows)


def _keep_columns(linear: nn.Linear, columns: torch.Tensor) -> None:
    linear.weight = nn.Parameter(linear.weight.detach()[:, columns].clone(), linear.weight.requires_grad)
    linear.in_features = len(columns)
