"""Which units go: twins, dead weight, and the knapsack between sublayers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ftx_plugins.prune.anatomy import dissect
from ftx_plugins.prune.calibration import Calibration, logits_of
from ftx_plugins.prune.importance import collect_statistics
from ftx_plugins.prune.reconstruction import reconstruct
from ftx_plugins.prune.selection import choose_units, removal_order
from ftx_plugins.prune.surgery import columns_of, keep_units
from ftx_plugins.tasks.scoring import scoring_of

Make = Callable[[str], Any]
FAMILIES = ("bert", "distilbert", "modernbert")


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """64 rows of random tokens, in two batches."""
    generator = torch.Generator().manual_seed(2)
    batches = [torch.randint(5, 120, (32, length), generator=generator) for length in (12, 9)]
    return Calibration(
        tuple({"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in batches),
        (np.arange(32), np.arange(32, 64)),
        np.zeros(64, dtype=np.int64),
        scoring_of("text-classification", ("a", "b", "c")),
        10.5,
    )


def make_twins(part: Any, sign: float) -> None:
    """Let the second half of the units say what the first half says; `sign` -1: the two cancel each other."""
    half = part.units // 2 * part.size
    with torch.no_grad():
        for linear in part.into:
            for start in range(0, linear.out_features, 2 * half):
                linear.weight[start + half : start + 2 * half] = linear.weight[start : start + half]
                if linear.bias is not None:
                    linear.bias[start + half : start + 2 * half] = linear.bias[start : start + half]
        part.out.weight[:, half:] = sign * part.out.weight[:, :half]


@pytest.mark.parametrize("kind", ["attention", "feed_forward"])
@pytest.mark.parametrize("sign", [1.0, 0.5, -1.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_removing_twins_costs_nothing(
    family: str, sign: float, kind: str, make_model: Make, architectures: Any, calibration: Calibration
) -> None:
    model = make_model(family)
    part = getattr(dissect(model, architectures), kind)(1)
    make_twins(part, sign)
    before = logits_of(model, calibration)
    anatomy = dissect(model, architectures)
    statistics = collect_statistics(anatomy, calibration, seed=0)
    seen = statistics[2 if kind == "attention" else 3]
    half = part.units // 2
    kept = removal_order(part, seen).kept(half)
    assert sorted(unit % half for unit in kept) == list(range(half)) or sign < 0
    reconstruct(part, kept, seen)
    keep_units(part, kept)
    assert (logits_of(model, calibration) - before).abs().max() < 5e-3 * before.std()


def test_units_that_say_nothing_go_first_and_cost_nothing(
    make_model: Make, architectures: Any, calibration: Calibration
) -> None:
    anatomy = dissect(make_model("bert"), architectures)
    dead = {"attention": [2], "feed_forward": list(range(1, 64, 3))}
    for kind, units in dead.items():
        part = getattr(anatomy, kind)(0)
        with torch.no_grad():
            part.out.weight[:, columns_of(units, part.size, part.out.weight.device)] = 0
    statistics = collect_statistics(anatomy, calibration, seed=0)
    for place, units in enumerate(dead.values()):
        removal = removal_order(anatomy.sublayers()[place], statistics[place])
        assert sorted(removal.order[: len(units)].tolist()) == units
        assert removal.costs[len(units)] == pytest.approx(0, abs=1e-12)
        assert removal.costs[len(units) + 1] > 1e-9
        assert (np.diff(removal.costs) >= 0).all()


def test_reconstruction_is_nearer_to_the_model_than_cutting_alone(
    make_model: Make, architectures: Any, calibration: Calibration
) -> None:
    distances = []
    for rebuilds in (True, False):
        model = make_model("bert")
        anatomy = dissect(model, architectures)
        before = logits_of(model, calibration)
        for part, seen in zip(anatomy.sublayers(), collect_statistics(anatomy, calibration, seed=0), strict=True):
            kept = removal_order(part, seen).kept(part.units // 2)
            if rebuilds:
                reconstruct(part, kept, seen)
            keep_units(part, kept)
        distances.append(float((logits_of(model, calibration) - before).pow(2).mean()))
    assert distances[0] < 0.6 * distances[1]


def test_the_knapsack_finds_the_best_choice() -> None:
    generator = np.random.default_rng(0)
    options = [[1, 2, 3, 4], [32, 64, 96], [1, 2, 3]]
    losses = [dict(zip(units, sorted(generator.random(len(units)), reverse=True), strict=True)) for units in options]
    costs = [dict(zip(units, sorted(generator.random(len(units))), strict=True)) for units in options]
    budget = 1.4
    chosen = choose_units(options, losses, costs, budget)
    assert chosen is not None
    feasible = [
        sum(loss[count] for loss, count in zip(losses, counts, strict=True))
        for counts in itertools.product(*options)
        if sum(cost[count] for cost, count in zip(costs, counts, strict=True)) <= budget
    ]
    assert sum(loss[count] for loss, count in zip(losses, chosen, strict=True)) == pytest.approx(min(feasible))
    assert choose_units(options, losses, costs, 0.01) is None
    assert choose_units(options, losses, costs, sum(min(cost.values()) for cost in costs)) == [1, 32, 1]
