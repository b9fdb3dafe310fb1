"""In which order rows are trained on and evaluated."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

WINDOW = 64
"""Batches whose rows are sorted together: long enough to pad little, short enough to mix well."""


class EpochOrder(Sampler[int]):
    """All rows, or equal shares of each label, in an order drawn from the seed and the epoch alone.

    An order drawn from the global generator, as the Trainer's own samplers draw it, differs when a run goes on from
    the middle of an epoch: some rows would be seen twice, and others never.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        batch_size: int,
        seed: int,
        *,
        group_by_length: bool,
        balance: np.ndarray | None = None,
    ) -> None:
        self.lengths = lengths
        self.balance = balance
        """The rows' labels, int64 of shape (rows,), where each is to be seen equally often."""
        self.batch_size = batch_size
        self.seed = seed
        self.group_by_length = group_by_length
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self.seed, self.epoch])
        if self.balance is None:
            order = generator.permutation(len(self.lengths))
        else:
            order = equal_shares(self.balance, generator)
        if self.group_by_length:
            order = group_like_lengths(order, self.lengths, self.batch_size, generator)
        return iter(order.tolist())


class ShareOfBatches(Sampler[list[int]]):
    """One process's share of each batch of an order: every `count`-th row, from the row `rank` on.

    The batches are those of one process, so that gradients and the order of rows do not depend on how many there are. A
    last batch with fewer rows than processes is given whole to each: its mean is then that of its rows, too.
    """

    def __init__(self, sampler: EpochOrder, rank: int, count: int) -> None:
        self.sampler = sampler
        self.rank = rank
        self.count = count

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.sampler.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order, size = list(self.sampler), self.sampler.batch_size
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            yield batch if len(batch) < self.count else batch[self.rank :: self.count]


class LongestFirst(Sampler[int]):
    """All rows, longest first: for evaluation, where the order changes nothing but the padding."""

    def __init__(self, lengths: np.ndarray) -> None:
        self.order = np.argsort(-lengths, kind="stable")

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order.tolist())


def equal_shares(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """As many rows as there are `labels`, with equal shares of each label, in random order.

    A label's rows are all drawn once before one of them is drawn again; of a frequent label some are left out.
    """
    classes = generator.permutation(np.unique(labels))
    drawn = []
    for place, label in enumerate(classes):
        wanted = len(labels) // len(classes) + (place < len(labels) % len(classes))
        rows = np.flatnonzero(labels == label)
        rounds = -(-wanted // len(rows))
        drawn.append(np.concatenate([generator.permutation(rows) for _ in range(rounds)])[:wanted])
    return np.asarray(generator.permutation(np.concatenate(drawn)))


def group_like_lengths(
    order: np.ndarray, lengths: np.ndarray, batch_size: int, generator: np.random.Generator
) -> np.ndarray:
    """`order` with rows of like length brought together in batches.

    Rows are sorted by length within windows of `WINDOW` batches, cut into batches, and the batches shuffled, so that
    long and short ones alternate. The batch with the longest row comes first: where memory does not suffice, that
    shows at once. A last batch of fewer rows stays last.
    """
    window = np.arange(len(order)) // (WINDOW * batch_size)
    order = order[np.lexsort((-lengths[order], window))]
    full = len(order) // batch_size
    batches = order[: full * batch_size].reshape(full, batch_size)
    batches = batches[generator.permutation(full)]
    if full:
        longest = int(lengths[batches].max(axis=1).argmax())
        batches[[0, longest]] = batches[[longest, 0]]
    return np.concatenate([batches.ravel(), order[full * batch_size :]])
