"""Whether a measurement can be believed: every reason why it cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftx_loadtests.measurement import Measurement, Phase
from ftx_loadtests.samples import Failure
from ftx_loadtests.statistics import fewest_samples, quantile

ACHIEVED = 0.99
LAG_SHARE = 0.05
"""Of the SLO, which the p99 of the client's lag may take; of the p99, where there is no SLO."""
LEAST_LAG_BOUND = 0.001
"""Seconds of lag that are accepted where there is no SLO: of an endpoint that answers within 20 ms the share would
be less than what a timer and the start of a greenlet take."""
CPU_SHARE = 0.8
SILENCE = 20
"""So many requests in a row, the last ones, without a connection mean that the server is gone."""
IDENTITY = (
    "model_id",
    "model_sha",
    "model_dtype",
    "served_model_name",
    "variant",
    "runtime",
    "temperature",
    "version",
    "sha",
    "name",
    "versions",
)
"""What `/info` of ftx, text-embeddings-inference and OIP servers say that no running model changes."""


def reasons(measurement: Measurement, phases: Sequence[Phase], *, tail: bool) -> tuple[str, ...]:
    """Why a verdict on these phases is invalid; empty where it is valid. `tail`: it stands on a p99."""
    return tuple(_reasons(measurement, phases, tail))


def achieved(measurement: Measurement, phase: Phase) -> tuple[float, float]:
    """Requests per second of an open loop's phase: scheduled, and truly sent.

    The schedule's own count, and not the rate that was asked for: random arrivals are more or fewer than expected,
    which is nobody's fault.
    """
    samples = measurement.samples
    rows = samples.block == phase.block
    sent = rows & measurement.sent
    last = float(samples.sent[sent].max(initial=phase.end))
    seconds = max(phase.seconds, 1e-9)
    return float(rows.sum()) / seconds, float(sent.sum()) / max(last - phase.start, seconds)


def lag_p99(measurement: Measurement, phases: Sequence[Phase]) -> float | None:
    """By how many seconds the client was late itself; None where nothing left."""
    rows = measurement.of_blocks([phase.block for phase in phases]) & measurement.sent
    return quantile(measurement.samples.lag[rows], 0.99) if rows.any() else None


def lag_bound(measurement: Measurement, phases: Sequence[Phase]) -> float:
    """Seconds of lag that a verdict stands; infinite where there is nothing to compare it with."""
    if measurement.slo is not None:
        return LAG_SHARE * measurement.slo
    latency = measurement.samples.latency[measurement.of_blocks([phase.block for phase in phases])]
    return max(LAG_SHARE * quantile(latency, 0.99), LEAST_LAG_BOUND) if len(latency) else np.inf


def _reasons(measurement: Measurement, phases: Sequence[Phase], tail: bool) -> Iterator[str]:
    if measurement.interrupted:
        yield "it was interrupted"
    rows = measurement.of_blocks([phase.block for phase in phases])
    yield from _enough(measurement, int(rows.sum()), tail)
    yield from _server(measurement)
    if measurement.open_loop:
        yield from _schedule(measurement, phases, rows)
    if measurement.client.cpu_share > CPU_SHARE:
        yield (
            f"the client used {measurement.client.cpu_share:.0%} of a core, so that it measured itself (at most "
            f"{CPU_SHARE:.0%}); use more workers"
        )
    yield from _floor(measurement)
    if measurement.resources is not None:
        for reason, share in measurement.resources.throttled().items():
            yield f"the GPU was throttled ({reason}) in {share:.0%} of the readings"


def _enough(measurement: Measurement, count: int, tail: bool) -> Iterator[str]:
    if not count:
        searched = any(phase.block < -1 for phase in measurement.phases)
        yield "no rate was found to measure at" if searched else "nothing was measured"
    elif tail and measurement.slo is not None and count < fewest_samples(0.99):
        yield f"{count} requests are too few for a p99 ({fewest_samples(0.99)}); measure longer"


def _schedule(measurement: Measurement, phases: Sequence[Phase], rows: NDArray[np.bool_]) -> Iterator[str]:
    for phase in phases:
        asked, sent = achieved(measurement, phase)
        if asked and sent < ACHIEVED * asked:
            yield f"{sent:.4g} requests a second were sent of the {asked:.4g} that were due ({phase.name})"
    dropped = int((rows & ~measurement.sent).sum())
    if dropped:
        yield f"{dropped} requests were never sent, since too many were waiting for their answers"
    lag, bound = lag_p99(measurement, phases), lag_bound(measurement, phases)
    if lag is not None and lag > bound:
        yield (
            f"the client was late itself: its lag's p99 is {1000 * lag:.3g} ms (at most {1000 * bound:.3g}); use more "
            "workers, or a lower rate"
        )


def _server(measurement: Measurement) -> Iterator[str]:
    failures = measurement.samples.failure[measurement.sent]
    gone = len(failures) >= SILENCE and bool((failures[-SILENCE:] == Failure.CONNECTION).all())
    server = measurement.server
    if server is not None and server.before is not None and server.after is None:
        gone = True
    if gone:
        yield "the server did not answer any more at the end"
    elif server is not None and server.before is not None and server.after is not None:
        changed = _changed(server.before, server.after)
        if changed:
            yield f"the model changed while it was measured ({', '.join(changed)})"


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {before.get(name)} → {after.get(name)}" for name in IDENTITY if before.get(name) != after.get(name)
    ]


def _floor(measurement: Measurement) -> Iterator[str]:
    floor, slo = measurement.floor_ms, measurement.slo
    if floor is not None and slo is not None and floor > 1000 * slo:
        yield (
            f"the client alone takes {floor:.3g} ms at p99 against a server that does nothing, more than the SLO of "
            f"{1000 * slo:.3g} ms"
        )
