"""What a million requests cost in energy and money, at the rate that was judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ftx_loadtests.measurement import Measurement, Phase

MILLION = 1_000_000


@dataclass(frozen=True)
class Costs:
    """None is what was not measured, or not asked for."""

    answered_per_second: float
    joules_per_million: float | None
    watts: float | None
    price_per_million: float | None
    """In the currency of `--price-per-hour`."""

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


def costs(measurement: Measurement, phases: Sequence[Phase]) -> Costs | None:
    """Of these phases; None where nothing was answered in them.

    The energy is that of the whole processor and GPU, idle power included, while the phases lasted.
    """
    rows = measurement.of_blocks([phase.block for phase in phases]) & measurement.samples.ok
    seconds = sum(phase.seconds for phase in phases)
    if not rows.any() or seconds <= 0:
        return None
    rate = float(rows.sum()) / seconds
    watts = _watts(measurement, phases)
    price = measurement.settings.get("price_per_hour")
    return Costs(
        rate,
        None if watts is None else watts / rate * MILLION,
        watts,
        None if price is None else float(price) / 3600.0 / rate * MILLION,
    )


def _watts(measurement: Measurement, phases: Sequence[Phase]) -> float | None:
    """The mean power in the phases, weighted by how long they lasted."""
    if measurement.resources is None:
        return None
    found = [(phase.seconds, measurement.resources.since(phase.start, phase.end).watts()) for phase in phases]
    known = [(seconds, watts) for seconds, watts in found if watts is not None]
    if not known:
        return None
    return sum(seconds * watts for seconds, watts in known) / sum(seconds for seconds, _ in known)
