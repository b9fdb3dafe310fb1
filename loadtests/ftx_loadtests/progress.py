"""What goes on, on the terminal: a line that is rewritten, or a plain line now and then; always on stderr."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from ftx_loadtests.recording import Recording
from ftx_loadtests.samples import ROW, Failure

PLAIN_SECONDS = 5.0
RECENT = 20_000
"""Rows that the quantiles are taken of: a soak has millions."""


class Progress:
    """Call it again and again: it reads what has been recorded since, and says how the test stands."""

    def __init__(self, recording: Recording, stream: TextIO | None = None) -> None:
        self._recording = recording
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._offsets: dict[Path, int] = {}
        self._block: int | None = None
        self._rows = np.empty(0, dtype=ROW)
        self._count = 0
        self._failed = 0
        self._printed = time.monotonic()

    def __call__(self) -> None:
        phases = self._recording.phases()
        if not phases:
            return
        now = phases[-1]
        if now.phase.block != self._block:
            self._block, self._count, self._failed = now.phase.block, 0, 0
            self._rows = np.empty(0, dtype=ROW)
        self._take(self._new_rows())
        line = self._line(now.phase.name, now.phase.seconds, now.start)
        if self._live:
            self._stream.write(f"\r\x1b[K{line}")
        elif time.monotonic() - self._printed >= PLAIN_SECONDS:
            self._printed = time.monotonic()
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the terminal's line empty."""
        if self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _new_rows(self) -> NDArray[np.void]:
        parts = [np.empty(0, dtype=ROW)]
        for path in self._recording.folder.glob("rows-*.bin"):
            offset = self._offsets.get(path, 0)
            with path.open("rb") as stream:
                stream.seek(offset)
                data = stream.read()
            whole = len(data) // ROW.itemsize * ROW.itemsize
            self._offsets[path] = offset + whole
            parts.append(np.frombuffer(data[:whole], dtype=ROW))
        return np.concatenate(parts)

    def _take(self, rows: NDArray[np.void]) -> None:
        rows = rows[rows["block"] == self._block]
        self._count += len(rows)
        self._failed += int((rows["failure"] != Failure.NONE).sum())
        self._rows = np.concatenate([self._rows, rows])[-RECENT:]

    def _line(self, name: str, seconds: float, start: float) -> str:
        if not self._count:
            return f"{name}: begins"
        rows = self._rows
        passed = float(rows["ended"].max()) - start
        good = rows[rows["failure"] == Failure.NONE]
        parts = [f"{name}: {min(passed, seconds):.0f} of {seconds:.0f} s", f"{self._count / max(passed, 1e-3):.1f}/s"]
        if len(good):
            p50, p99 = np.quantile(good["ended"] - good["scheduled"], (0.5, 0.99), method="inverted_cdf") * 1000
            parts.append(f"p50 {p50:.1f} ms")
            parts.append(f"p99 {p99:.1f} ms" if len(good) >= 500 else f"slowest {_slowest(good):.1f} ms")
        parts.append(f"{self._failed} failed")
        return "  ".join(parts)


def _slowest(rows: NDArray[np.void]) -> float:
    return 1000 * float((rows["ended"] - rows["scheduled"]).max())
