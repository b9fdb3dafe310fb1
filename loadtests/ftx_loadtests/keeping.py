"""What stays of a load test: the raw samples, and everything that was made of them."""

from __future__ import annotations

from pathlib import Path

from ftx_loadtests.outcome import Result
from ftx_loadtests.report.files import write_report

SAMPLES = "samples.npz"


def keep(result: Result, folder: Path) -> None:
    """Write them into `folder`, which must be there."""
    result.measurement.samples.save(folder / SAMPLES)
    write_report(result, folder)
