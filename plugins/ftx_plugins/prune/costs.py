"""What a sublayer costs, by how many units it has: operations, counted."""

from __future__ import annotations

from ftx_plugins.prune.anatomy import Anatomy, Attention, Sublayer


def operations(part: Sublayer, units: int, hidden_size: int, length: float) -> float:
    """Multiplications and additions of a sublayer of so many heads or neurons, for one text of `length` tokens.

    Counted are the matrix products: each projection is 2 · length · rows · columns, and attention's scores and its
    weighted sum are 2 · length² · head size a head, each.
    """
    width = units * part.size
    projections = len(part.into) * part.blocks + 1
    total = 2.0 * length * hidden_size * width * projections
    if isinstance(part, Attention):
        total += 2 * 2.0 * length * length * width
    return total


def encoder_operations(anatomy: Anatomy, length: float) -> float:
    """Operations of all the encoder's layers as they are, for one text of `length` tokens."""
    return sum(operations(part, part.units, anatomy.hidden_size, length) for part in anatomy.sublayers())
