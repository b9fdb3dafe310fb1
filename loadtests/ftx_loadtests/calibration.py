"""What the client costs by itself: the same generators against a server that does nothing, before the test.

No server can be measured to be faster than this, and an SLO below it cannot be judged from here.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ftx.errors import ExitCode, FtxError
from ftx_loadtests.launching import Distribution, generate
from ftx_loadtests.payloads import Payloads
from ftx_loadtests.preparation import prepare
from ftx_loadtests.recording import Recording
from ftx_loadtests.settings import LoadSettings
from ftx_loadtests.statistics import quantile

USUAL_RATE = 100.0
"""Requests a second, where the test itself has no rate."""
REQUESTS = 600
FEWEST_SECONDS, MOST_SECONDS = 2.0, 8.0


@contextmanager
def null_server() -> Iterator[str]:
    """The URL of a server that answers at once, in a process of its own."""
    command = [sys.executable, "-m", "ftx_loadtests.null_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            port = process.stdout.readline().strip().decode()
            if not port:
                raise FtxError(
                    "the null endpoint did not start", "look at this machine: ftx doctor", code=ExitCode.STEP_FAILED
                )
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()


def floor_ms(settings: LoadSettings, payloads: Payloads, folder: Path, distribution: Distribution) -> float:
    """The p99 of the client against the null endpoint, in milliseconds, at the rate of the test.

    Raises `FtxError` where the SLO is not above it.
    """
    rate = settings.rate or settings.capacity or USUAL_RATE
    seconds = min(max(REQUESTS / rate, FEWEST_SECONDS), MOST_SECONDS)
    with null_server() as url:
        plain = LoadSettings(
            "rate", url, rate=rate, duration=seconds, warmup=0.5, seed=settings.seed, in_flight=settings.in_flight
        )
        job, _ = prepare(replace(plain, workers=distribution.workers), payloads)
        recording = Recording(folder)
        recording.clear()
        ended = generate(job, recording, distribution, lambda: None)
    if ended.interrupted:
        raise KeyboardInterrupt
    samples = recording.samples()
    latency = samples.latency[samples.block >= 0]
    if ended.failure or not len(latency):
        raise FtxError(
            f"the calibration failed: {ended.failure or 'no request was sent'}",
            "go without it: --no-calibration",
            code=ExitCode.STEP_FAILED,
        )
    floor = 1000 * quantile(latency, 0.99)
    if settings.slo_p99_ms is not None and floor >= settings.slo_p99_ms:
        raise FtxError(
            f"this client alone takes {floor:.3g} ms at p99 against a server that does nothing, and the SLO is "
            f"{settings.slo_p99_ms:g} ms: what the server takes cannot be told from here",
            "measure from a machine with less to do, or with more generators: --workers 2",
        )
    return floor
