"""Which items share a batch."""

from __future__ import annotations

import random

from ftx_serving.engine.items import Item, Source
from ftx_serving.engine.pending import BatchRule, Pending


def items(*lengths: int, apart: float = 0.0) -> list[Item]:
    return [Item(Source(str(n)), n * apart, [], length=length) for n, length in enumerate(lengths)]


def lengths_of(batch: list[Item]) -> list[int]:
    return [item.length for item in batch]


def test_the_oldest_leads_and_the_nearest_lengths_fill_up() -> None:
    pending = Pending(BatchRule(budget=40))
    pending.extend(items(10, 60, 9, 30, 10, 11))
    assert lengths_of(pending.take()) == [10, 10, 9]  # 11 would make it 4 × 11 tokens
    assert lengths_of(pending.take()) == [60]  # beyond the budget, but alone
    assert lengths_of(pending.take()) == [30]
    assert lengths_of(pending.take()) == [11]
    assert pending.take() == []


def test_lengths_count_as_the_runtime_computes_them() -> None:
    pending = Pending(BatchRule(budget=32, length_step=16))
    pending.extend(items(3, 3, 3))
    assert len(pending.take()) == 2  # 3 tokens are 16 for this runtime


def test_nothing_overtakes_an_item_that_came_much_earlier() -> None:
    pending = Pending(BatchRule(budget=1000, age_bound=0.25))
    pending.extend(items(10, 50, 10, 10, apart=0.1))
    assert lengths_of(pending.take()) == [10, 10, 50]  # the last 10 came 0.3 s after the first
    assert lengths_of(pending.take()) == [10]


def test_items_of_a_variant_that_minds_its_neighbours_go_alone() -> None:
    pending = Pending(BatchRule(budget=1000, alone=True))
    pending.extend(items(10, 10))
    assert (len(pending.take()), len(pending.take())) == (1, 1)


def test_every_item_is_taken_once_and_padding_stays_low() -> None:
    choose = random.Random(0)
    everything = items(*(choose.randint(3, 60) for _ in range(500)))
    pending = Pending(BatchRule(budget=256))
    pending.extend(everything)
    batches = []
    while batch := pending.take():
        batches.append(batch)
        assert len(batch) * max(lengths_of(batch)) <= 256
    assert sorted(item.source.text for batch in batches for item in batch) == sorted(i.source.text for i in everything)
    padded = sum(len(batch) * max(lengths_of(batch)) for batch in batches)
    assert padded < 1.15 * sum(lengths_of(everything))
