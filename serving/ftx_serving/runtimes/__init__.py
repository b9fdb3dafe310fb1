"""What executes a variant, without torch: one module a runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np


class Session(Protocol):
    """A loaded variant. Called with the model's inputs by name, each int64 of shape (batch, length).

    Returns the logits, float32 of shape (batch, classes), or (batch, length, labels) of a model of tokens. Safe to call
    from several threads. One that rounds lengths up has `length_step`, the multiple that it rounds to: batching counts
    the tokens that are computed, not those given.
    """

    def __call__(self, **inputs: np.ndarray) -> np.ndarray: ...
