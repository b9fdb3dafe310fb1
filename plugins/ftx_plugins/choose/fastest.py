"""`choose:fastest`: measures a bundle's variants here, and gives the same bundle with the choice in its `meta`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ftx import Artifact, Bundle, Context, FtxError
from ftx.config import BudgetTable
from ftx.errors import BudgetError
from ftx.scoreboard import Row, breaches_of, excess_of, nearest_budget, rows_of
from ftx_plugins.choose.hooks import ChooseConfig
from ftx_plugins.choose.texts import texts_of_data
from ftx_plugins.export.card import CARD_FILE, write_card
from ftx_plugins.export.files import carry_over
from ftx_serving.bench.candidates import find_candidates
from ftx_serving.bench.choosing import choose
from ftx_serving.bench.measure import Bench, Measured, measure
from ftx_serving.bench.race import Terms
from ftx_serving.choice import KEY, describe_machine

MEASURED_HERE = ("latency_p95_ms", "size_mb")
"""Limits that need no evaluation."""


def run(config: ChooseConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Write the bundle of `inputs["model"]` with `meta["choice"]`.

    Quality is what `inputs["evaluation"]` found on the validation split, against the reference's own evaluation
    (`inputs["baseline"]`); latency is measured now. `FtxError` with the exit code of a broken budget where no variant
    may be chosen.
    """
    bundle = inputs["model"]
    assert isinstance(bundle, Bundle)
    budget = BudgetTable(**context.budget)
    rows = _rows(inputs.get("evaluation"))
    _check_evaluated(rows, budget)
    candidates, skipped = find_candidates(
        bundle, context.plugins.runtimes(), threads=config.threads, device=context.device
    )
    for each in skipped:
        context.warn(f"{each.name} was not measured: {each.why} ({each.hint})")
    texts, pairs = texts_of_data(inputs["data"], config.max_texts)
    terms = Terms(config.seconds, config.prefer, config.batch_size, context.seed)
    bench = measure(
        bundle,
        candidates,
        skipped,
        texts,
        pairs,
        terms,
        lambda done, total: context.progress(round(done, 1), total, "s", candidates=len(candidates)),
    )
    timed = _with_latency(rows, bench)
    reference = next(iter(_rows(inputs.get("baseline"))), None)
    beyond = {
        row.variant: "; ".join(str(breach) for breach in found)
        for row in timed
        if row.variant and (found := breaches_of(row, reference, budget))
    }
    chosen, refused = choose(bench, beyond, allow_slower_than_fp32=config.allow_slower_than_fp32)
    if chosen is None:
        raise _infeasible(refused, timed, reference, budget)
    context.log(f"the fastest: {chosen.name}{_compared(chosen)}")
    carry_over(bundle.path, context.out, [name for name in bundle.manifest.files if name != CARD_FILE])
    choice = {
        "variant": chosen.variant,
        "runtime": chosen.runtime,
        "threads": chosen.threads,
        "machine": describe_machine(context.device),
        "figures": chosen.to_dict(),
        "refused": refused,
    }
    context.describe(**{**bundle.meta, KEY: choice})
    evaluation = inputs.get("evaluation")
    write_card(context.out, context.meta, context.model, evaluation.manifest.metrics if evaluation else None)
    return {"choice": {"variant": chosen.variant, "runtime": chosen.runtime, "threads": chosen.threads}} | (
        bench.to_dict() | {"refused": refused}
    )


def _rows(evaluation: Artifact | None) -> list[Row]:
    """What an evaluation on the validation split found: choosing by the test split would make that a second one."""
    metrics = evaluation.manifest.metrics if evaluation is not None else {}
    return rows_of("choose:fastest", metrics) if metrics.get("split") == "validation" else []


def _check_evaluated(rows: list[Row], budget: BudgetTable) -> None:
    wanted = [name for name in budget.limits() if name not in MEASURED_HERE]
    if wanted and not rows:
        raise FtxError(
            f"the budget limits {', '.join(wanted)}, and this bundle was not evaluated on the validation split",
            "evaluate it before the choice: ftx run export evaluate:validation choose",
        )


def _with_latency(rows: list[Row], bench: Bench) -> list[Row]:
    """The rows with the p95 measured now: of each variant that of its fastest candidate."""
    p95 = {found.variant: found.p95_ms.value for found in reversed(bench.measured)}
    return [replace(row, p95_ms=p95.get(row.variant or "", row.p95_ms)) for row in rows]


def _infeasible(refused: Mapping[str, str], rows: list[Row], reference: Row | None, budget: BudgetTable) -> FtxError:
    listed = "\n  ".join(f"{name}: {why}" for name, why in refused.items())
    slower = any(why.startswith("slower") for why in refused.values())
    hints = [*nearest_budget(rows, reference, budget)]
    if slower:
        hints.append("take a variant that is slower than fp32: --set choose.allow_slower_than_fp32=true")
    hints.append("or end without a choice: --set choose.enabled=false")
    return BudgetError(f"no variant may be chosen\n  {listed}", *hints, excess=excess_of(rows, reference, budget))


def _compared(chosen: Measured) -> str:
    rate = f": {chosen.rows_per_second.value:.0f} rows/s, {chosen.p50_ms.value:.2f} ms alone"
    if chosen.precision == "fp32" or chosen.to_fp32 is None:
        return rate
    return f"{rate}, {chosen.to_fp32.value:.2f} × fp32 (95% {chosen.to_fp32.low:.2f} to {chosen.to_fp32.high:.2f})"
