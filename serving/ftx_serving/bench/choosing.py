"""The fastest candidate that may be chosen, and why the others may not."""

from __future__ import annotations

from collections.abc import Mapping

from ftx_serving.bench.measure import Bench, Measured


def choose(
    bench: Bench, beyond_budget: Mapping[str, str], *, allow_slower_than_fp32: bool = False
) -> tuple[Measured | None, dict[str, str]]:
    """The fastest that is left (None: none is), and by the name of the variant why it was refused.

    `beyond_budget` says of variants why they are beyond the budget. A variant of another precision that is clearly
    slower than fp32 in all its candidates, the interval of its ratio below 1, has lost quality for nothing.
    """
    refused = {each.name: each.why for each in bench.skipped}
    refused.update(beyond_budget)
    allowed = []
    for found in bench.measured:
        if found.variant in beyond_budget:
            continue
        if not allow_slower_than_fp32 and (why := _slower(found)):
            refused.setdefault(found.variant, why)
        else:
            allowed.append(found)
    kept = {found.variant for found in allowed}
    return (allowed[0] if allowed else None), {name: why for name, why in refused.items() if name not in kept}


def _slower(found: Measured) -> str | None:
    to_fp32 = found.to_fp32
    if found.precision == "fp32" or to_fp32 is None or to_fp32.high >= 1:
        return None
    return f"slower than fp32: {to_fp32.value:.2f} of its speed (95% interval {to_fp32.low:.2f} to {to_fp32.high:.2f})"
