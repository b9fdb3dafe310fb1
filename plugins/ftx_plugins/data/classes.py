"""Label names and their order, and what keeps labels from being learnt."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ftx.errors import FtxError
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.sources import SPLITS

SHOWN = 5


def order_names(names: Collection[str], declared: Sequence[str]) -> tuple[str, ...]:
    """Label names in an order that does not depend on the rows.

    The declared order (of a `ClassLabel`) comes first; of the rest, integers by value if all are, else by code point.
    """
    rest = set(names) - set(declared)
    if all(re.fullmatch(r"[+-]?[0-9]+", name) for name in rest):
        ordered = sorted(rest, key=lambda name: (int(name), name))
    else:
        ordered = sorted(rest)
    return (*(name for name in declared if name in names), *ordered)


def count_classes(labels: np.ndarray, splits: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Split -> rows of each class, int64 of shape (classes,)."""
    return {split: np.bincount(labels[splits == place], minlength=len(names)) for place, split in enumerate(SPLITS)}


def require_classes(counts: Mapping[str, np.ndarray], names: Sequence[str], config: DataConfig) -> None:
    """Raise `FtxError` where the rows given for each split cannot be split further, or learnt from.

    Rows of a split that is not given are still in `train`.
    """
    _require_known_labels(counts, names)
    present = [name for name, count in zip(names, counts["train"], strict=True) if count]
    if len(present) < 2:
        raise FtxError(
            f"all {int(counts['train'].sum())} training rows have one label, {present[0]!r}: there is nothing to learn",
            f"is {config.label!r} the column of labels? set data.label",
        )
    made = [split for split in SPLITS if split == "train" or not counts[split].any()]
    rare = {name: int(n) for name, n in zip(names, counts["train"], strict=True) if n < len(made)}
    if rare:
        raise FtxError(
            f"{_some(rare)}, too few for a row in each of {', '.join(made)}",
            "add rows of these classes, or leave them out of the file",
            f"is {config.label!r} the column of labels? set data.label",
        )


def _require_known_labels(counts: Mapping[str, np.ndarray], names: Sequence[str]) -> None:
    for split in ("validation", "test"):
        unknown = {
            name: int(there)
            for name, there, learnt in zip(names, counts[split], counts["train"], strict=True)
            if there and not learnt
        }
        if unknown:
            raise FtxError(
                f"the {split} split has labels that the training rows lack: {_some(unknown)}",
                f"correct the labels in data.{split}, or add rows with them to data.train",
            )


def _some(classes: Mapping[str, int]) -> str:
    shown = [f"{name!r} has {n} row{'s' if n != 1 else ''}" for name, n in list(classes.items())[:SHOWN]]
    more = f" and {len(classes) - SHOWN} more classes" if len(classes) > SHOWN else ""
    return ", ".join(shown) + more
