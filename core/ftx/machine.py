"""What this machine is: its processor, the cores that this process may use, its GPU."""

from __future__ import annotations

import math
import os
import platform
from functools import cache
from pathlib import Path

import psutil

FEATURES = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "i8mm",
    "bf16",
)
"""Processor flags that decide how fast a model runs."""
VNNI = frozenset({"avx512_vnni", "avx_vnni"})
AMX = frozenset({"amx_int8", "amx_bf16"})
BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Flags, on x86 and on Arm, that stand for bf16 in hardware; emulated, it is slower than fp32."""
INT8_DOT_PRODUCT = VNNI | {"amx_int8"}
"""Flags on x86 that stand for int8 products which do not overflow."""


@cache
def processor() -> str:
    """The processor's model and the flags that matter here, such as `AMD EPYC 9B45 [avx2 avx512f]`."""
    fields: dict[str, str] = {}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    model = fields.get("model name") or platform.processor() or platform.machine()
    present = set((fields.get("flags") or fields.get("Features") or "").split())
    return f"{model} [{' '.join(flag for flag in FEATURES if flag in present)}]"


def flags_of(described: str) -> frozenset[str]:
    """The flags in what `processor` says."""
    return frozenset(described.rpartition("[")[2].rstrip("]").split())


def cores() -> int:
    """Cores that this process may use: its affinity, cut by the control group's quota (cgroup v2)."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.exists():
        limit, _, period = quota.read_text().strip().partition(" ")
        if limit != "max" and period:
            return max(1, min(affinity, math.ceil(int(limit) / int(period))))
    return affinity


def memory_bytes() -> int:
    return int(psutil.virtual_memory().total)


def has_cuda() -> bool:
    """Whether an NVIDIA GPU is there, told without importing torch."""
    return Path("/dev/nvidia0").exists() or Path("/dev/nvhost-gpu").exists() or Path("/dev/dxg").exists()


def identity(device: str) -> dict[str, object]:
    """What a measurement holds for: part of the key of steps that measure."""
    return {"processor": processor(), "cores": cores(), "device": device}
