"""What long texts cost the short ones that are served beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ftx_loadtests.measurement import Measurement
from ftx_loadtests.samples import Samples
from ftx_loadtests.statistics import Estimate, estimate_quantiles, fewest_samples


@dataclass(frozen=True)
class Inflation:
    """p99 of the short texts, alone and among long ones."""

    alone_ms: Estimate
    mixed_ms: Estimate
    shortest: int | None
    """Texts of up to so many tokens are short; None where the server tells no tokens, and texts are matched."""

    @property
    def factor(self) -> Estimate:
        """The bounds hold if both p99s lie within theirs, so they are wider than 95% asks for."""
        alone, mixed = self.alone_ms, self.mixed_ms
        return Estimate(mixed.value / alone.value, mixed.low / alone.high, mixed.high / alone.low)

    def as_json(self) -> dict[str, Any]:
        factor = self.factor
        return {
            "short_p99_alone_ms": self.alone_ms.value,
            "short_p99_mixed_ms": self.mixed_ms.value,
            "inflation": factor.value,
            "interval": [factor.low, factor.high],
            "short_tokens": self.shortest,
        }


def inflation(measurement: Measurement) -> Inflation | None:
    """Of the phases `short` and `mixed`; None where either has too few short texts for a p99, or one is infinite.

    Short is what the phase `short` has: up to its longest text in tokens, or the same texts.
    """
    samples = measurement.samples
    alone, mixed = (samples.select(measurement.rows(name)) for name in ("short", "mixed"))
    known = alone.tokens[alone.tokens >= 0]
    shortest = int(known.max()) if len(known) else None
    rows = np.isin(mixed.text, alone.text) if shortest is None else (mixed.tokens >= 0) & (mixed.tokens <= shortest)
    found = [_p99(alone, measurement.seed), _p99(mixed.select(rows), measurement.seed)]
    if found[0] is None or found[1] is None or not np.isfinite([found[0].high, found[1].value]).all():
        return None
    return Inflation(found[0].scaled(1000.0), found[1].scaled(1000.0), shortest)


def _p99(samples: Samples, seed: int) -> Estimate | None:
    if len(samples) < fewest_samples(0.99):
        return None
    return estimate_quantiles(samples.latency, (0.99,), seed=seed)[0.99]
