"""How a server takes a spike, and how soon it is itself again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ftx_loadtests.measurement import Measurement
from ftx_loadtests.samples import Samples
from ftx_loadtests.statistics import Estimate, quantile, share_estimate

SHED = (429, 503)
"""Too many requests, and service unavailable: a refusal, not a breakdown."""
WINDOW = 1.0
SLOW_SHARE = 0.1
"""A window in which more than this share of the requests is late or failed is not normal."""
USUAL = 2.0
"""Without an SLO a request is late beyond so many times the p95 before the spike."""


@dataclass(frozen=True)
class Spike:
    """What happened in and after the spike."""

    shed: Estimate
    """The share of the spike's requests that were refused."""
    failed: float
    """The share of the spike's requests that failed otherwise."""
    answered_p99_ms: float
    """Of the spike's requests that were answered."""
    limit_ms: float
    """Beyond which a request is late."""
    recovery_seconds: float | None
    """From the spike's end until only normal windows follow; None where the test ended before that."""

    def as_json(self) -> dict[str, Any]:
        return {
            "shed_share": self.shed.value,
            "interval": [self.shed.low, self.shed.high],
            "failed_share": self.failed,
            "answered_p99_ms": self.answered_p99_ms,
            "limit_ms": self.limit_ms,
            "recovery_s": self.recovery_seconds,
        }


def spike(measurement: Measurement) -> Spike | None:
    """None where one of the phases `before`, `spike` and `after` has no requests."""
    samples = measurement.samples
    before, during, after = (samples.select(measurement.rows(name)) for name in ("before", "spike", "after"))
    if not (len(before) and len(during) and len(after)):
        return None
    shed = np.isin(during.status, SHED)
    limit = measurement.slo if measurement.slo is not None else USUAL * quantile(before.latency, 0.95)
    end = max(phase.end for phase in measurement.phases if phase.name == "spike")
    return Spike(
        share_estimate(int(shed.sum()), len(during)),
        float((~during.ok & ~shed).mean()),
        quantile(during.latency[during.ok], 0.99) * 1000.0,
        limit * 1000.0,
        _recovery(after, end, limit),
    )


def _recovery(after: Samples, end: float, limit: float) -> float | None:
    """To the end of the last window that is not normal."""
    windows = ((after.scheduled - end) / WINDOW).astype(np.int64)
    late = after.latency > limit
    slow = [int(window) for window in np.unique(windows) if late[windows == window].mean() > SLOW_SHARE]
    if not slow:
        return 0.0
    return None if slow[-1] >= int(windows.max()) else (slow[-1] + 1) * WINDOW
