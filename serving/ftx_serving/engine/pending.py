"""The tokenized items that wait for a worker, and how a batch is chosen among them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from ftx_serving.engine.items import Item


@dataclass(frozen=True)
class BatchRule:
    """Which items share a batch."""

    budget: int = 256
    """Padded tokens of a batch; a longer text still gets a batch of its own."""
    length_step: int = 1
    """Lengths are rounded up to a multiple of this."""
    window: int = 256
    """Items that are looked at."""
    age_bound: float = 0.25
    """Seconds: nothing overtakes an item that came so much earlier."""
    alone: bool = False
    """Whether each item is a batch: the variant's logits would depend on the neighbours."""

    def rounded(self, length: int) -> int:
        return -(-length // self.length_step) * self.length_step


class Pending:
    """Items in the order in which they arrived. Not thread-safe: the engine holds its lock."""

    def __init__(self, rule: BatchRule) -> None:
        self.rule = rule
        self._items: deque[Item] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def extend(self, items: Iterable[Item]) -> None:
        self._items.extend(items)

    def take(self) -> list[Item]:
        """The next batch: the oldest item and those nearest to it in length, as many as fit into the budget.

        Only what arrived within `age_bound` of the oldest may join it, so that a text of a rare length waits for no
        more than what came in that time. Empty if nothing is waiting.
        """
        if not self._items:
            return []
        leader = self._items.popleft()
        if self.rule.alone:
            return [leader]
        latest = leader.arrived + self.rule.age_bound
        near = [item for item in islice(self._items, self.rule.window) if item.arrived <= latest]
        # A stable sort: of equally near ones the older come first.
        near.sort(key=lambda item: abs(item.row_length - leader.row_length))
        batch, longest, rows = [leader], self.rule.rounded(leader.row_length), _rows(leader)
        for item in near:
            longest, rows = max(longest, self.rule.rounded(item.row_length)), rows + _rows(item)
            if longest * rows > self.rule.budget:
                break
            batch.append(item)
        if len(batch) > 1:
            taken = set(map(id, batch))
            self._items = deque(item for item in self._items if id(item) not in taken)
        return batch

    def clear(self) -> None:
        self._items.clear()


def _rows(item: Item) -> int:
    return max(1, len(item.rows))
