"""Where readings of the machine come from: the server's processes, the processor's energy counters, the GPU's driver.

Each source gives some of the fields of a `Reading` every time it is asked, and leaves out what cannot be read.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil

from ftx_loadtests.resources import Reading

POWERCAP = Path("/sys/class/powercap")

Fields = Mapping[str, float | int]


class Source(Protocol):
    """Something that is read again and again."""

    def read(self) -> Fields:
        """Fields of a `Reading`, without its time."""


@dataclass(frozen=True)
class Opened:
    """The sources that this machine has, and what it has not."""

    sources: Sequence[Source]
    notes: tuple[str, ...]
    devices: tuple[str, ...] = ()


def open_sources(pids: Sequence[int], *, powercap: Path = POWERCAP, nvml: Any = None) -> Opened:
    """All that can be read of the processes `pids` with their children, and of the machine that they run on.

    `nvml` is the module `pynvml`, unless another is given.
    """
    sources: list[Source] = []
    notes = []
    if pids:
        sources.append(ProcessTrees(pids))
    else:
        notes.append("the server's process was not found: its processor time and memory are not sampled")
    energy = PackageEnergy.find(powercap)
    if energy is None:
        notes.append("the kernel gives no energy counters of the processor (RAPL), or not to this user")
    else:
        sources.append(energy)
    gpus, why = Gpus.find(nvml, pids)
    if gpus is None:
        notes.append(f"no GPU is sampled: {why}")
    else:
        sources.append(gpus)
    return Opened(sources, tuple(notes), gpus.names if gpus is not None else ())


class ProcessTrees:
    """Processor time and memory of processes and all that they have started."""

    def __init__(self, pids: Sequence[int], clock: Callable[[], float] = time.monotonic) -> None:
        self._roots = [psutil.Process(pid) for pid in pids]
        self._clock = clock
        self._before: dict[psutil.Process, float] = {}
        self._then = clock()
        self.read()

    def read(self) -> Fields:
        now, seconds, rss = self._clock(), {}, 0
        for process in self._alive():
            with suppress(psutil.Error), process.oneshot():
                times = process.cpu_times()
                seconds[process] = times.user + times.system
                rss += process.memory_info().rss
        # A process that has come since counts from its start; the last moments of one that has gone are lost.
        busy = sum(spent - self._before.get(process, 0.0) for process, spent in seconds.items())
        elapsed, self._before, self._then = now - self._then, seconds, now
        if not seconds or elapsed <= 0:
            return {}
        return {"cpu": busy / elapsed, "rss": rss}

    def _alive(self) -> set[psutil.Process]:
        found = set()
        for root in self._roots:
            with suppress(psutil.Error):
                found |= {root, *root.children(recursive=True)}
        return found


@dataclass
class _Counter:
    """One package's energy in microjoules, which begins again at 0 after `wraps`."""

    file: Path
    wraps: int
    last: int
    total: int = 0

    def advance(self) -> int:
        now = int(self.file.read_text())
        self.total += now - self.last if now >= self.last else now + self.wraps - self.last
        self.last = now
        return self.total


@dataclass
class PackageEnergy:
    """RAPL, by Linux's powercap. Only whole packages are summed: cores and memory controllers are parts of them."""

    counters: list[_Counter]

    @classmethod
    def find(cls, root: Path) -> PackageEnergy | None:
        """None where there are no counters, or only root may read them."""
        try:
            # `intel-rapl:0` is a package, `intel-rapl:0:1` a part of it; AMD's processors have the same names.
            zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
            counters = [
                _Counter(zone / "energy_uj", int((zone / "max_energy_range_uj").read_text()), _microjoules(zone))
                for zone in zones
            ]
        except OSError:
            return None
        return cls(counters) if counters else None

    def read(self) -> Fields:
        return {"cpu_energy": sum(counter.advance() for counter in self.counters) / 1e6}


def _microjoules(zone: Path) -> int:
    return int((zone / "energy_uj").read_text())


@dataclass
class Gpus:
    """NVIDIA's GPUs, by their management library."""

    nvml: Any
    handles: Sequence[Any]
    names: tuple[str, ...]
    _energy_before: dict[int, float] = field(default_factory=dict)

    @classmethod
    def find(cls, nvml: Any, pids: Sequence[int]) -> tuple[Gpus | None, str]:
        """Those that the processes compute on; all of them where the driver does not tell (it sees other process ids
        from within a container). None, and why, where there is none."""
        try:
            nvml = nvml or importlib.import_module("pynvml")
        except ImportError:
            return None, "nvidia-ml-py is not installed"
        try:
            nvml.nvmlInit()
            handles = [nvml.nvmlDeviceGetHandleByIndex(place) for place in range(nvml.nvmlDeviceGetCount())]
            used = [handle for handle in handles if set(_computing(nvml, handle)) & set(_family(pids))]
            chosen = used or handles
            names = tuple(_text(nvml.nvmlDeviceGetName(handle)) for handle in chosen)
        except nvml.NVMLError as error:
            return None, str(error)
        return (cls(nvml, chosen, names), "") if chosen else (None, "there is none")

    def read(self) -> Fields:
        found: dict[str, float | int] = {}
        for name, values in self._values():
            known = [value for value in values if value is not None]
            if len(known) == len(self.handles):
                found[name] = _TOGETHER[name](known)
        return found

    def _values(self) -> Iterator[tuple[str, list[Any]]]:
        nvml = self.nvml
        readers: dict[str, Callable[[Any], float | int]] = {
            "gpu_utilization": lambda handle: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
            "gpu_memory": lambda handle: nvml.nvmlDeviceGetMemoryInfo(handle).used,
            "gpu_power": lambda handle: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "gpu_energy": lambda handle: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000,
            "gpu_clock": lambda handle: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            "gpu_throttle": lambda handle: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
        }
        for name, reader in readers.items():
            values = [self._value(reader, handle) for handle in self.handles]
            if name == "gpu_energy":
                values = [self._since_first(place, value) for place, value in enumerate(values)]
            yield name, values

    def _value(self, reader: Callable[[Any], float | int], handle: Any) -> float | int | None:
        try:
            return reader(handle)
        except self.nvml.NVMLError:  # most cards lack one or another of them
            return None

    def _since_first(self, place: int, joules: float | None) -> float | None:
        return None if joules is None else joules - self._energy_before.setdefault(place, joules)


def _any_of(masks: Sequence[int]) -> int:
    found = 0
    for mask in masks:
        found |= mask
    return found


_TOGETHER: Mapping[str, Callable[[Sequence[Any]], float | int]] = {
    "gpu_utilization": lambda shares: sum(shares) / len(shares),
    "gpu_memory": sum,
    "gpu_power": sum,
    "gpu_energy": sum,
    "gpu_clock": min,
    "gpu_throttle": _any_of,
}


def _computing(nvml: Any, handle: Any) -> list[int]:
    try:
        return [process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle)]
    except nvml.NVMLError:
        return []


def _family(pids: Sequence[int]) -> Iterator[int]:
    for pid in pids:
        yield pid
        with suppress(psutil.Error):
            yield from (child.pid for child in psutil.Process(pid).children(recursive=True))


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


@dataclass
class RecordedTrace:
    """A recording, read as if it were measured now; its last reading is repeated."""

    readings: Sequence[Reading]
    _place: int = 0

    def read(self) -> Fields:
        reading = self.readings[min(self._place, len(self.readings) - 1)]
        self._place += 1
        return {name: value for name, value in vars(reading).items() if value is not None and name != "time"}
