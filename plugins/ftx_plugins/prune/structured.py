"""`prune:structured`: attention heads and FFN neurons, to a share of the operations or of the latency.

In each round the calibration rows say what each unit is worth as the model now is (`importance`), a knapsack settles
how many each sublayer keeps (`selection`), the remaining ones make up for the rest (`reconstruction`), and the rest
is cut off (`surgery`). Recovery by distillation comes once, at the end (`recovery`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftx import Artifact, Context, FtxError
from ftx_plugins.prune.anatomy import Attention, Sublayer
from ftx_plugins.prune.config import StructuredConfig
from ftx_plugins.prune.costs import operations
from ftx_plugins.prune.importance import collect_statistics
from ftx_plugins.prune.job import Job, start
from ftx_plugins.prune.latency import latencies
from ftx_plugins.prune.reconstruction import reconstruct
from ftx_plugins.prune.selection import choose_units, removal_order
from ftx_plugins.prune.surgery import keep_units

Costs = list[dict[int, float]]
"""For each sublayer: units that it may keep -> what it then costs, in operations or in seconds."""


def run(config: StructuredConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Prune `inputs["model"]` to the target; `FtxError` where no choice of heads and widths meets it."""
    job = start(config, inputs, context)
    costs = _costs(job, config)
    whole = _total(job, costs)
    target = config.flops if config.latency is None else config.latency
    _check_target(costs, whole, target, config)
    rounds = _resume(job, config.rounds)
    for place in range(len(rounds), config.rounds):
        share = target ** ((place + 1) / config.rounds)
        _prune(job, costs, whole * share, place)
        rounds.append(_describe(job, _total(job, costs) / whole))
        context.log(f"round {place + 1} of {config.rounds}: {rounds[-1]['share']:.1%} left")
        job.save(f"round-{place + 1}", rounds=rounds)
    measured = {} if config.latency is None else {"latency_share": rounds[-1]["share"]}
    return job.finish(rounds=rounds, **measured)


def _resume(job: Job, rounds: int) -> list[dict[str, Any]]:
    """Take up the last round that a killed run has completed; returns what it and those before it came to."""
    for done in range(rounds, 0, -1):
        if facts := job.restore(f"round-{done}"):
            return list(facts["rounds"])
    return []


def _prune(job: Job, costs: Costs, budget: float, place: int) -> None:
    """One round: cut the model down to `budget`, in the costs' unit."""
    context = job.context
    total = len(job.calibration)
    statistics = collect_statistics(
        job.anatomy,
        job.calibration,
        context.seed + place,
        lambda done, _: context.progress(done, total, "rows", round=place + 1),
    )
    parts = job.anatomy.sublayers()
    removals = []
    for number, (part, seen) in enumerate(zip(parts, statistics, strict=True)):
        removals.append(removal_order(part, seen))
        context.progress(number + 1, len(parts), "sublayers ranked", round=place + 1)
    options = [[units for units in cost if units <= part.units] for part, cost in zip(parts, costs, strict=True)]
    losses = [
        {units: float(removal.costs[part.units - units]) for units in choice}
        for part, removal, choice in zip(parts, removals, options, strict=True)
    ]
    chosen = choose_units(options, losses, costs, budget)
    assert chosen is not None, "the final target was found to be within reach, and a round's is above it"
    for part, units, removal, seen in zip(parts, chosen, removals, statistics, strict=True):
        if units < part.units:
            kept = removal.kept(units)
            reconstruct(part, kept, seen)
            keep_units(part, kept)


def _costs(job: Job, config: StructuredConfig) -> Costs:
    parts = job.anatomy.sublayers()
    if config.latency is not None:
        return latencies(job.anatomy, [_options(part, config) for part in parts], job.calibration, job.context)
    length, hidden_size = job.calibration.mean_length, job.anatomy.hidden_size
    return [{units: operations(part, units, hidden_size, length) for units in _options(part, config)} for part in parts]


def _options(part: Sublayer, config: StructuredConfig) -> list[int]:
    """The numbers of units that a sublayer may keep: any number of heads, neurons in multiples, or all there are."""
    step = 1 if isinstance(part, Attention) else config.ffn_multiple
    return sorted({*range(step, part.units, step), part.units})


def _total(job: Job, costs: Costs) -> float:
    return sum(cost[part.units] for part, cost in zip(job.anatomy.sublayers(), costs, strict=True))


def _check_target(costs: Costs, whole: float, target: float, config: StructuredConfig) -> None:
    least = sum(min(cost.values()) for cost in costs) / whole
    if least > target:
        name = "flops" if config.latency is None else "latency"
        raise FtxError(
            f"prune.{name} = {target:g} is out of reach: one head and {config.ffn_multiple} neurons in each layer "
            f"are {least:.3f} of what there is",
            f"set prune.{name} to {_rounded_up(least)} or more",
            "or drop layers first: ftx run prune:layers prune:structured",
        )


def _rounded_up(share: float) -> float:
    return -(-share * 1000 // 1) / 1000


def _describe(job: Job, share: float) -> dict[str, Any]:
    heads: Sequence[int] = job.anatomy.heads()
    return {"share": round(share, 4), "heads": heads, "ffn_widths": job.anatomy.widths()}
