"""The labels of the data and those of a model's head: the same names, perhaps in another order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftx.errors import FtxError


def label_places(names: Sequence[str], labels: Sequence[str], hint: str) -> np.ndarray:
    """For each of the data's label `names` its place in the model's head (`labels`): int64 of shape (labels,).

    Raises `FtxError`, which ends with `hint`, unless both have the same names.
    """
    if set(names) != set(labels):
        raise FtxError(f"the model's labels ({', '.join(labels)}) are not the data's ({', '.join(names)})", hint)
    return np.asarray([list(labels).index(name) for name in names])
