"""Who measures when: turns that a drift of the machine, or a neighbour's burst, disturbs alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Entrant = TypeVar("Entrant")


def abba(entrants: Sequence[Entrant], number: int) -> list[Entrant]:
    """The turns of round `number`: there and back (A B B A), the next round from the other end (B A A B).

    Each has two turns with the same mean place, so that a linear drift within the round cancels.
    """
    there = list(entrants) if number % 2 == 0 else list(reversed(entrants))
    return [*there, *reversed(there)]


def window(order: np.ndarray, number: int, size: int) -> np.ndarray:
    """The `size` rows of round `number`: the same for all entrants, going on where the round before stopped.

    `order` holds all rows in random order, shape (rows,); behind its end it starts again.
    """
    return np.asarray(order[np.arange(number * size, (number + 1) * size) % len(order)])
