from __future__ import annotations

import numpy as np
import torch

from ftx_plugins.train.sampling import EpochOrder, LongestFirst, ShareOfBatches
from ftx_plugins.train.tokens import Collator

LENGTHS = np.random.default_rng(0).integers(3, 60, size=1003)


def order(epoch: int, *, grouped: bool = True, seed: int = 0) -> list[int]:
    sampler = EpochOrder(LENGTHS, 8, seed, group_by_length=grouped)
    sampler.set_epoch(epoch)
    return list(sampler)


def padding(rows: list[int]) -> int:
    batches = [LENGTHS[rows[start : start + 8]] for start in range(0, len(rows), 8)]
    return int(sum((batch.max() - batch).sum() for batch in batches))


def test_each_row_comes_once_in_an_epoch() -> None:
    assert sorted(order(0)) == sorted(order(0, grouped=False)) == list(range(len(LENGTHS)))


def test_the_order_follows_from_the_seed_and_the_epoch_and_nothing_else() -> None:
    first = order(1)
    torch.manual_seed(5)
    assert order(1) == first
    assert order(2) != first
    assert order(1, seed=1) != first


def test_grouping_saves_most_of_the_padding_and_shows_the_longest_batch_first() -> None:
    grouped = order(0)
    assert padding(grouped) < padding(order(0, grouped=False)) / 4
    assert LENGTHS.max() in LENGTHS[grouped[:8]]


def test_batches_are_not_in_the_order_of_their_lengths() -> None:
    longest = [LENGTHS[order(0)[start]] for start in range(0, 400, 8)]
    assert longest != sorted(longest, reverse=True)


def test_evaluation_starts_with_the_longest() -> None:
    assert LENGTHS[list(LongestFirst(LENGTHS))].tolist() == sorted(LENGTHS.tolist(), reverse=True)


def test_rows_are_padded_to_a_multiple_but_never_beyond_what_the_model_takes() -> None:
    rows = [{"input_ids": np.arange(1, size + 1), "labels": 1} for size in (3, 10)]
    batch = Collator(pad_id=0, pad_left=False, multiple=8, max_length=12)(rows)
    assert batch["input_ids"].shape == (2, 12)
    assert batch["input_ids"][0].tolist() == [1, 2, 3] + [0] * 9
    assert batch["attention_mask"].sum(dim=1).tolist() == [3, 10]
    left = Collator(pad_id=0, pad_left=True, multiple=1, max_length=12)(rows)
    assert left["input_ids"][0].tolist() == [0] * 7 + [1, 2, 3]


def shares(rows: int, count: int) -> list[list[list[int]]]:
    """Of each process its share of every batch of 8 rows."""
    sampler = EpochOrder(LENGTHS[:rows], 8, 0, group_by_length=True)
    sampler.set_epoch(1)
    return [list(ShareOfBatches(sampler, rank, count)) for rank in range(count)]


def test_the_shares_of_all_processes_are_the_batches_of_one() -> None:
    [whole], parts = shares(1003, 1), shares(1003, 4)
    assert len(whole) == 126
    assert all(len(part) == 126 for part in parts)
    for place, batch in enumerate(whole[:-1]):
        assert sorted(row for part in parts for row in part[place]) == sorted(batch)
        assert {len(part[place]) for part in parts} == {2}


def test_a_last_batch_with_fewer_rows_than_processes_is_given_to_each() -> None:
    [whole], parts = shares(1003, 1), shares(1003, 4)
    assert len(whole[-1]) == 3
    assert all(part[-1] == whole[-1] for part in parts)


def test_a_share_has_the_length_that_it_gives() -> None:
    sampler = EpochOrder(LENGTHS[:17], 8, 0, group_by_length=True)
    assert len(ShareOfBatches(sampler, 0, 2)) == len(list(ShareOfBatches(sampler, 0, 2))) == 3
