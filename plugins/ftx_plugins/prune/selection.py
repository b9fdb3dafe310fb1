"""Which units go, and how many of each sublayer.

Within a sublayer, units are removed one after the other, each time the one whose loss costs least once the remaining
ones have made up for it as well as they can. The cost is the rise of the loss to second order, with the Fisher
information approximated by a Kronecker product of the activations' and the gradients' second moments (Hassibi and
Stork 1993, "Optimal Brain Surgeon"; Kurtic et al. 2023, "ZipLM"; van der Ouderaa et al. 2024, "The LLM Surgeon").
Units that say the same thing are therefore not removed together: once one has gone, its twin carries for both. Between
sublayers, a knapsack weighs these costs against what each unit saves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ftx_plugins.prune.anatomy import Sublayer
from ftx_plugins.prune.importance import Statistics

DAMPING = 1e-3
"""Added to the diagonal of the activations' second moments, as a share of its mean: few rows say little of many."""
GROUP = 16
"""Neurons removed between two updates of the whole matrices."""
CANDIDATES = 64
"""Neurons among which these are chosen, one by one."""
CELLS = 20_000
"""Cells of the knapsack: the budget is met to within one part in so many for each sublayer."""


@dataclass(frozen=True)
class Removal:
    """The units of one sublayer, the first to go first, and `costs[k]`, what removing the first k costs."""

    order: np.ndarray
    costs: np.ndarray

    def kept(self, units: int) -> list[int]:
        """The `units` units that go last, in rising order."""
        return sorted(self.order[len(self.order) - units :].tolist())


def removal_order(part: Sublayer, statistics: Statistics) -> Removal:
    """In which order this sublayer's units go, and what each number of them costs. One unit stays."""
    weight = part.out.weight.detach().double()
    # The loss rises by half of tr(G · ΔW · A · ΔWᵀ); `saliency` is Wᵀ·G·W, and `inverse` that of A.
    saliency = 0.5 * weight.T @ statistics.gradients @ weight
    inverse = torch.linalg.inv(damped(statistics.activations))[:-1, :-1]
    pruner = _Surgeon(saliency, inverse, part.size)
    order: list[int] = []
    costs = [0.0]
    while len(order) < part.units - 1:
        for unit, cost in pruner.step(part.units - 1 - len(order)):
            order.append(unit)
            costs.append(costs[-1] + max(cost, 0.0))
    order += sorted(set(range(part.units)) - set(order))
    return Removal(np.asarray(order), np.asarray(costs))


def damped(activations: torch.Tensor) -> torch.Tensor:
    """Second moments with `DAMPING` added to the diagonal, but for the constant 1 at its end."""
    diagonal = torch.diagonal(activations)
    extra = torch.full_like(diagonal, float(diagonal[:-1].mean()) * DAMPING + 1e-12)
    extra[-1] = 1e-12
    return activations + torch.diag(extra)


class _Surgeon:
    """The matrices of one sublayer, over the units that remain."""

    def __init__(self, saliency: torch.Tensor, inverse: torch.Tensor, size: int) -> None:
        self.saliency = saliency
        self.inverse = inverse
        self.size = size
        self.remaining = np.arange(len(saliency) // size)

    def step(self, at_most: int) -> list[tuple[int, float]]:
        """Remove the cheapest units, up to `at_most`; returns each with its cost."""
        chosen = self._cheapest_neurons(min(GROUP, at_most)) if self.size == 1 else self._cheapest_head()
        places = [place for place, _ in chosen]
        self._remove(np.asarray(places))
        removed = [(int(self.remaining[place]), cost) for place, cost in chosen]
        self.remaining = np.delete(self.remaining, places)
        return removed

    def _cheapest_neurons(self, count: int) -> list[tuple[int, float]]:
        """The places of the cheapest neurons, each chosen as if the ones before it were gone."""
        costs = torch.diagonal(self.saliency) / torch.diagonal(self.inverse)
        candidates = torch.topk(costs, min(max(CANDIDATES, count), len(costs)), largest=False).indices
        saliency = self.saliency[candidates][:, candidates].cpu().numpy()
        inverse = self.inverse[candidates][:, candidates].cpu().numpy()
        free = np.ones(len(candidates), dtype=bool)
        chosen = []
        for _ in range(count):
            price = np.where(free, np.diag(saliency) / np.where(free, np.diag(inverse), 1.0), np.inf)
            place = int(price.argmin())
            chosen.append((int(candidates[place]), float(price[place])))
            free[place] = False
            share = inverse[place] / inverse[place, place]
            crossed = np.outer(saliency[:, place], share)
            saliency = saliency - crossed - crossed.T + saliency[place, place] * np.outer(share, share)
            inverse = inverse - np.outer(inverse[:, place], share)
        return chosen

    def _cheapest_head(self) -> list[tuple[int, float]]:
        heads = len(self.remaining)
        price = []
        for head in range(heads):
            block = slice(head * self.size, (head + 1) * self.size)
            price.append(float(torch.linalg.solve(self.inverse[block, block], self.saliency[block, block]).trace()))
        place = int(np.argmin(price))
        return [(place, price[place])]

    def _remove(self, places: np.ndarray) -> None:
        """Take units out of both matrices, as the remaining ones make up for them."""
        columns = (places[:, None] * self.size + np.arange(self.size)).reshape(-1)
        gone = torch.as_tensor(columns, device=self.saliency.device)
        keep = torch.ones(len(self.saliency), dtype=torch.bool, device=self.saliency.device)
        keep[gone] = False
        share = torch.linalg.solve(self.inverse[gone][:, gone], self.inverse[gone][:, keep])
        crossed = self.saliency[keep][:, gone] @ share
        own = share.T @ self.saliency[gone][:, gone] @ share
        self.saliency = self.saliency[keep][:, keep] - crossed - crossed.T + own
        self.inverse = self.inverse[keep][:, keep] - self.inverse[keep][:, gone] @ share


def choose_units(
    options: Sequence[Sequence[int]],
    losses: Sequence[Mapping[int, float]],
    costs: Sequence[Mapping[int, float]],
    budget: float,
) -> list[int] | None:
    """How many units each sublayer keeps, so that the sum of losses is least and the sum of costs within the budget.

    `options[j]` are the numbers of units that sublayer j may keep. Exact but for the rounding of costs to `CELLS` cells
    (upwards: the budget holds). None where not even the cheapest options fit.
    """
    cell = budget / CELLS
    best = np.zeros(CELLS + 1)
    taken = []
    for units, loss, cost in zip(options, losses, costs, strict=True):
        value = np.full((len(units), CELLS + 1), np.inf)
        for place, count in enumerate(units):
            size = int(np.ceil(cost[count] / cell - 1e-9))
            if size <= CELLS:
                value[place, size:] = best[: CELLS + 1 - size] + loss[count]
        taken.append(value.argmin(axis=0))
        best = value.min(axis=0)
    if not np.isfinite(best[CELLS]):
        # Rounded up, the cheapest choice may seem not to fit although it does.
        cheapest = [min(units, key=lambda count: cost[count]) for units, cost in zip(options, costs, strict=True)]
        total = sum(cost[count] for count, cost in zip(cheapest, costs, strict=True))
        return cheapest if total <= budget * (1 + 1e-9) else None
    result = []
    left = CELLS
    for units, cost, choice in reversed(list(zip(options, costs, taken, strict=True))):
        count = units[choice[left]]
        result.append(count)
        left -= int(np.ceil(cost[count] / cell - 1e-9))
    return result[::-1]
