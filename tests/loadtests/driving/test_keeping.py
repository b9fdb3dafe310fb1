"""From requests on a real socket to the files that a load test leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ftx_loadtests.keeping import keep
from ftx_loadtests.outcome import judge
from ftx_loadtests.resources import Resources
from ftx_loadtests.samples import Samples


def test_a_measured_server_is_judged_and_everything_is_kept(serve, run_suite, tmp_path):
    kept = Path(tmp_path) / "kept"
    kept.mkdir()
    measurement = run_suite("rate", serve().url, rate=300.0, duration=2.5, slo_p99_ms=1000.0)
    result = judge(measurement)
    keep(result, kept)
    assert result.answer.met, result.answer
    document = json.loads((kept / "result.json").read_text())
    assert document["requests"] == len(measurement.samples) > 500 and document["p99_ms"] < 1000
    again = Samples.load(kept / "samples.npz")
    assert np.array_equal(again.scheduled, measurement.samples.scheduled)
    assert "Where the time went" not in (kept / "report.html").read_text()
    assert (kept / "junit.xml").stat().st_size > 0 and (kept / "samples.csv").stat().st_size > 0


def test_the_server_is_sampled_while_it_is_measured(serve, run_suite, tmp_path):
    measurement = run_suite("rate", serve().url, rate=20.0, duration=2.5)
    resources = measurement.resources
    assert resources is not None
    times, rss = resources.series("rss")
    # A reading each half second, on the axis of the samples; the server is a thread of this process.
    assert 3 <= len(times) <= 7 and times.min() >= 0 and times.max() <= measurement.samples.ended.max()
    assert rss.min() > 2**20
    assert len(Resources.load(Path(tmp_path) / "recording" / "resources.jsonl").readings) >= len(times)
