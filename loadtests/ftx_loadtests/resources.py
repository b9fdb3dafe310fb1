"""What a test cost the machine: the sampled series of the server's processor, memory, energy and GPU."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ftx.errors import FtxError

THROTTLED = {
    0x0000000000000008: "hardware slowdown",
    0x0000000000000020: "software thermal slowdown",
    0x0000000000000040: "hardware thermal slowdown",
    0x0000000000000080: "power brake",
}
"""Bits of NVML's clocks event reasons that mean that the GPU was slower than it can be. The software power cap (0x4) is
none of them: it is how a GPU at full load stays within its rated power."""


@dataclass(frozen=True)
class Reading:
    """One look at the machine; None is what cannot be read here."""

    time: float
    """Of the machine's monotonic clock in a recording, of the test in `Resources`, in seconds."""
    cpu: float | None = None
    """Cores that the server's processes kept busy since the last reading."""
    rss: float | None = None
    """Bytes of the server's processes, shared pages counted in each."""
    cpu_energy: float | None = None
    """Joules of the processor packages (RAPL), since the first reading."""
    gpu_utilization: float | None = None
    """Share of the time in which a kernel ran; the mean of the GPUs."""
    gpu_memory: float | None = None
    """Bytes, of all GPUs together, as are power and energy."""
    gpu_power: float | None = None
    """Watts."""
    gpu_energy: float | None = None
    """Joules since the first reading."""
    gpu_clock: float | None = None
    """MHz of the streaming multiprocessors; the slowest GPU's."""
    gpu_throttle: int | None = None
    """NVML's clocks event reasons, of all GPUs or'ed."""


SERIES = tuple(each.name for each in fields(Reading) if each.name != "time")


@dataclass(frozen=True)
class Resources:
    """Readings in the order of time, and what could not be read and why."""

    readings: Sequence[Reading]
    notes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    """Names of the GPUs, as their driver calls them."""

    def series(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Times in seconds and values of what was read of `name`; empty where it never was."""
        found = [(each.time, getattr(each, name)) for each in self.readings if getattr(each, name) is not None]
        array = np.asarray(found, dtype=np.float64).reshape(-1, 2)
        return array[:, 0], array[:, 1]

    def since(self, start: float, end: float = np.inf) -> Resources:
        """The readings from `start` to `end`, with times that count from `start`."""
        kept = [replace(each, time=each.time - start) for each in self.readings if start <= each.time <= end]
        return replace(self, readings=kept)

    def joules(self) -> float | None:
        """The energy of processor and GPU between the first and the last reading; None where neither can be read."""
        found = [
            values[-1] - values[0] for _, values in map(self.series, ("cpu_energy", "gpu_energy")) if len(values) > 1
        ]
        return float(sum(found)) if found else None

    def watts(self) -> float | None:
        """The mean power over the same time."""
        joules = self.joules()
        if joules is None or len(self.readings) < 2:
            return None
        seconds = self.readings[-1].time - self.readings[0].time
        return joules / seconds if seconds > 0 else None

    def throttled(self) -> dict[str, float]:
        """Reason -> the share of the readings in which it slowed a GPU down."""
        _, masks = self.series("gpu_throttle")
        shares = {
            reason: float((masks.astype(np.int64) & bit > 0).mean()) for bit, reason in THROTTLED.items() if len(masks)
        }
        return {reason: share for reason, share in shares.items() if share > 0}

    def save(self, path: Path) -> None:
        """JSON lines: what the recording is about, then a reading a line."""
        head = {"notes": self.notes, "devices": self.devices}
        lines = [json.dumps(head), *(json.dumps(_present(each)) for each in self.readings)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Resources:
        """What `save` or a sampler wrote. The last line may be cut off: a sampler that was killed wrote no more."""
        try:
            head, *lines = path.read_text(encoding="utf-8").splitlines()
            about = json.loads(head)
            return cls(tuple(_readings(lines)), tuple(about["notes"]), tuple(about["devices"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FtxError(
                f"{path} is no recording of resources: {error}", "measure again: ftx loadtest URL"
            ) from error


def _present(reading: Reading) -> dict[str, float]:
    return {name: value for name, value in vars(reading).items() if value is not None}


def _readings(lines: Sequence[str]) -> Iterable[Reading]:
    for place, line in enumerate(lines):
        try:
            yield Reading(**json.loads(line))
        except ValueError:
            if place + 1 < len(lines):
                raise
