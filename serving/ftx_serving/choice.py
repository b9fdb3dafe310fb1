"""The variant that was the fastest where it was measured, as the step `choose` leaves it in a bundle's `meta`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ftx import machine

KEY = "choice"
"""Its name in the manifest's `meta`."""
MEASURE_HERE = "measure here: ftx bench REF"


@dataclass(frozen=True)
class Choice:
    """What to run, and the machine that this holds for."""

    variant: str
    runtime: str
    threads: int
    processor: str
    """Model and flags, as `ftx.machine.processor` tells them."""
    cores: int
    device: str

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Choice | None:
        """The choice in a bundle's `meta`; None where none was made."""
        raw = meta.get(KEY)
        if not raw:
            return None
        where = raw["machine"]
        return cls(raw["variant"], raw["runtime"], raw["threads"], where["processor"], where["cores"], where["device"])

    @property
    def threads_here(self) -> int | None:
        """Threads of one call; None (the runtime's own number) where this process has another number of cores."""
        return self.threads if self.cores == machine.cores() else None

    def holds_here(self, device: str, warn: Callable[[str], None]) -> bool:
        """Whether it was measured on such a processor and this device; on another processor `warn` is told so."""
        if device != self.device:
            return False
        if self.processor == machine.processor():
            return True
        warn(
            f"{self.variant} was chosen on another processor ({self.processor}; this is {machine.processor()}): "
            f"the bundle's own order is used; {MEASURE_HERE}"
        )
        return False


def describe_machine(device: str) -> dict[str, Any]:
    """`processor`, `cores` and `device`, which decide whether a choice holds, and the processor's flags."""
    return {**machine.identity(device), "flags": sorted(machine.flags_of(machine.processor()))}
