"""When requests are due: drawn before anything is sent, from a seed, so that no answer can delay the next request.

In an open loop arrivals do not wait for answers (Schroeder, Wierman and Harchol-Balter, Open Versus Closed, NSDI 2006).
Drawing them while requests run would let a slow client thin out the very moments that matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ftx.errors import FtxError

Times = NDArray[np.float64]
"""Seconds since the start of a phase, ascending."""


def draw(process: str, rate: float, seconds: float, seed: Sequence[int]) -> Times:
    """The arrivals of a process by name, `poisson` or `constant`, at `rate` a second."""
    generator = np.random.default_rng(list(seed))
    return poisson(rate, seconds, generator) if process == "poisson" else constant(rate, seconds)


def poisson(rate: float, seconds: float, generator: np.random.Generator) -> Times:
    """Arrivals of a Poisson process: their number is Poisson, and given that they are uniform."""
    count = int(generator.poisson(rate * seconds))
    return np.sort(generator.uniform(0.0, seconds, count))


def constant(rate: float, seconds: float) -> Times:
    """Arrivals at equal distances, the first at 0."""
    return np.arange(round(rate * seconds), dtype=np.float64) / rate


def share(times: Times, worker: int, workers: int) -> Times:
    """What one of several workers sends of arrivals that are not drawn anew for each: every `workers`-th."""
    return times[worker::workers]


def read_trace(path: Path) -> Times:
    """Arrivals from a file with a number a line: seconds, from any origin. The first one becomes 0.

    Raises `FtxError` for a file that is missing, empty, holds anything but numbers, or goes back in time.
    """
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise FtxError(
            f"{path} cannot be read: {error}", "name a text file with a time in seconds on each line"
        ) from None
    try:
        times = np.array([float(line) for line in lines], dtype=np.float64)
    except ValueError as error:
        raise FtxError(f"{path} is no trace of arrivals: {error}", "write a time in seconds on each line") from None
    if len(times) == 0:
        raise FtxError(f"{path} holds no arrivals", "write a time in seconds on each line")
    if not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise FtxError(f"{path} holds times that do not ascend", f"sort them: sort -g {path}")
    return np.asarray(times - times[0], dtype=np.float64)
