"""What a load test has measured, before anybody judges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftx_loadtests.resources import Resources
from ftx_loadtests.samples import Failure, Samples


@dataclass(frozen=True)
class Phase:
    """A stretch of the test with one intention: the rows whose `block` it has.

    Names that are read: `before`, `spike` and `after` (spike); `short`, the short texts alone, and `mixed` (mixed);
    `quiet` and `chaos` (chaos). A rung of a search, a block of an A/B and the single phase of the other suites may have
    any name.
    """

    block: int
    name: str
    start: float
    """Seconds since the start of measuring."""
    end: float
    rate: float | None = None
    """Requests per second that were asked for; None in a closed loop."""

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class ClientFacts:
    """The load generator itself."""

    cpu_share: float
    """Of one core, by its busiest process."""
    workers: int = 1


@dataclass(frozen=True)
class ServerFacts:
    """What `/info` said before and after; None where there was no answer."""

    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True)
class Measurement:
    """Everything that a verdict is made from."""

    suite: str
    url: str
    settings: Mapping[str, Any]
    """As the command resolved them. Read here: `slo_p99_ms`, `rate`, `seed`, `price_per_hour`."""
    samples: Samples
    phases: Sequence[Phase]
    client: ClientFacts
    server: ServerFacts | None = None
    resources: Resources | None = None
    floor_ms: float | None = None
    """p99 of the client against a server that does nothing."""
    interrupted: bool = False
    reference_labels: Sequence[str | None] | None = None
    """The right answer to each text of the payload, as the reference gave it; None where it is not known."""
    notes: Sequence[str] = ()

    @property
    def slo(self) -> float | None:
        """In seconds."""
        limit = self.settings.get("slo_p99_ms")
        return None if limit is None else float(limit) / 1000.0

    @property
    def seed(self) -> int:
        return int(self.settings.get("seed") or 0)

    @property
    def open_loop(self) -> bool:
        """Whether requests left by a schedule of their own, and did not wait for answers."""
        return any(phase.rate is not None for phase in self.measured)

    @cached_property
    def seconds(self) -> float:
        """The time that was measured, in all phases that count."""
        return float(sum(phase.seconds for phase in self.measured))

    @cached_property
    def measured(self) -> list[Phase]:
        """The phases that count: warming up and looking for a rate have blocks below 0."""
        return [phase for phase in self.phases if phase.block >= 0]

    def rows(self, *names: str) -> NDArray[np.bool_]:
        """The rows of the phases of these names."""
        return self.of_blocks([phase.block for phase in self.phases if phase.name in names])

    def of_blocks(self, blocks: Sequence[int]) -> NDArray[np.bool_]:
        return np.isin(self.samples.block, np.asarray(blocks, dtype=np.int64))

    @cached_property
    def sent(self) -> NDArray[np.bool_]:
        """Which requests truly left."""
        return np.asarray(self.samples.failure != Failure.DROPPED)
