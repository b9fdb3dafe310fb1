"""The generators under Locust, against real sockets: what leaves, when, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.loadtests.driving.conftest import answer, one_at_a_time, stalling

from ftx_loadtests.arrivals import draw
from ftx_loadtests.payloads import Payloads
from ftx_loadtests.samples import Failure

pytestmark = pytest.mark.xdist_group("load-driver")


def test_an_open_loop_sends_what_was_drawn_when_it_was_due(serve, run_suite):
    server = serve()
    measured = run_suite("rate", server.url, rate=100, seed=3)
    samples = measured.samples
    assert np.allclose(samples.scheduled, draw("poisson", 100, 2.0, (3, 0, 0)))
    assert (samples.lag >= 0).all()
    assert samples.ok.all()
    assert not measured.interrupted
    assert measured.phases[0].rate == 100
    assert 0 < measured.client.cpu_share < 1


def test_no_text_is_sent_twice_and_a_repeated_one_is_marked_by_blanks(serve, run_suite):
    server = serve()
    run_suite("rate", server.url, Payloads(("good car", "bad car")), rate=20, duration=1.0)
    sent = [json.loads(body)["inputs"] for body in server.requests[1:]]  # the first was to look at the endpoint
    assert len(set(sent)) == len(sent) > 4
    assert {text.rstrip() for text in sent} == {"good car", "bad car"}


def test_a_slow_server_does_not_slow_the_arrivals_down(serve, run_suite):
    measured = run_suite("rate", serve(one_at_a_time(0.04)).url, rate=50, arrivals="constant", duration=2.0)
    samples = measured.samples
    assert len(samples) == 100
    assert samples.sent.max() < 2.3
    # 100 requests of 40 ms each: the last one, due after 2 s, is done after 4.
    assert 1.5 < samples.latency[-5:].mean() < 2.6


def test_what_is_due_beyond_the_pool_is_dropped_and_counted(serve, run_suite):
    measured = run_suite("rate", serve(one_at_a_time(0.1)).url, rate=60, duration=1.0, in_flight=3)
    dropped = measured.samples.failure == Failure.DROPPED
    assert 20 < dropped.sum() < len(measured.samples)
    assert np.isinf(measured.samples.latency[dropped]).all()


def test_every_failure_has_its_name(serve, run_suite):
    count = 0

    async def behave(body: bytes) -> bytes | None:
        nonlocal count
        count += 1
        if count == 1:
            return answer()  # to the look at the endpoint
        kind = count % 4
        if kind == 0:
            return answer(status=500)
        if kind == 1:
            return answer(body=b'{"no": "label"}')
        if kind == 2:
            await asyncio.sleep(5)
        return None

    samples = run_suite("rate", serve(behave).url, rate=20, duration=1.0, timeout=0.5).samples
    assert set(samples.failure.tolist()) == {
        Failure.STATUS,
        Failure.SCHEMA,
        Failure.TIMEOUT,
        Failure.CONNECTION,
    }
    assert (samples.status[samples.failure == Failure.STATUS] == 500).all()


def test_the_headers_of_an_answer_become_columns(serve, run_suite):
    headers = (
        "server-timing: queue;dur=1.5, tokenize;dur=0.5, batch;dur=0.25, compute;dur=4\r\n"
        "x-compute-tokens: 12\r\nx-batch-size: 3\r\nx-batch-tokens: 48\r\n"
    )

    async def behave(body: bytes) -> bytes | None:
        return answer("bad", headers=headers)

    samples = run_suite("rate", serve(behave).url, rate=20, duration=1.0).samples
    assert samples.labels == ("bad",)
    assert set(samples.label.tolist()) == {0}
    assert (samples.queue[0], samples.tokenize[0], samples.batch[0], samples.compute[0]) == (1.5, 0.5, 0.25, 4.0)
    assert (samples.tokens[0], samples.batch_size[0], samples.padded_tokens[0]) == (12, 3, 48)


def test_two_workers_share_the_rate_and_the_texts(serve, run_suite, tmp_path):
    from ftx_loadtests.launching import Distribution
    from ftx_loadtests.measuring import Plan, measure
    from ftx_loadtests.payloads import packaged
    from ftx_loadtests.settings import LoadSettings

    settings = LoadSettings("rate", serve().url, rate=80, duration=2.0, warmup=0.0, workers=2)
    measured = measure(Plan(settings, packaged(), Distribution(2), calibrate=False), tmp_path)
    samples = measured.samples
    expected = [draw("poisson", 40, 2.0, (0, 0, worker)) for worker in (0, 1)]
    for worker in (0, 1):
        assert np.allclose(samples.scheduled[samples.worker == worker], expected[worker], atol=0.05)
    texts = [set(samples.text[samples.worker == worker].tolist()) for worker in (0, 1)]
    assert not texts[0] & texts[1]
    assert samples.ok.all()


@pytest.mark.slow
def test_a_server_that_dies_in_mid_run_ends_nothing_and_what_was_measured_is_kept(serve, run_suite):
    server = serve()

    async def die_after_a_second(body: bytes) -> bytes | None:
        if len(server.requests) > 40:
            server._loop.stop()
        return answer()

    server.behaviour = die_after_a_second
    samples = run_suite("rate", server.url, rate=40, duration=3.0, timeout=0.5).samples
    assert samples.ok[:30].all()
    assert not samples.ok[-20:].any()


def test_interrupted_by_ctrl_c_it_reports_what_it_has(serve, tmp_path):
    report = tmp_path / "report"
    arguments = ["--rate", "50", "--duration", "60", "--warmup", "0", "--no-calibration", "--json"]
    command = [sys.executable, "-m", "ftx", "loadtest", serve().url, *arguments, "--report", str(report)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
        # Where the tests run in the background, a shell may have them, and so what they start, ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    rows = report / "recording" / "rows-0.bin"
    while not (rows.is_file() and rows.stat().st_size > 2000) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    document = json.loads(out)
    assert process.returncode == 3, err
    assert document["verdict"] == "invalid"
    assert "it was interrupted" in document["reasons"]
    assert document["requests"] >= 20
    assert (report / "samples.npz").is_file()


def test_what_was_recorded_outlives_a_kill(serve, tmp_path):
    from ftx_loadtests.recording import Recording

    report = tmp_path / "report"
    arguments = ["--rate", "50", "--duration", "60", "--warmup", "0", "--no-calibration", "--report", str(report)]
    process = subprocess.Popen(
        [sys.executable, "-m", "ftx", "loadtest", serve().url, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ,
    )
    recording = Recording(report / "recording")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(recording.samples()) < 40:
        time.sleep(0.05)
    process.kill()
    process.wait(20)
    samples = recording.samples()
    assert len(samples) >= 40
    assert samples.ok.all()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:  # without `ftx loadtest` the generator ends by itself
        before = len(recording.samples())
        time.sleep(2.5)
        if len(recording.samples()) == before:
            return
    pytest.fail("the generator went on without whoever had started it")


@pytest.mark.slow
def test_a_stall_is_seen_in_the_open_loop_and_hidden_by_a_closed_one(serve, run_suite):
    open_loop = run_suite("rate", serve(stalling(4.0, 1.0)).url, rate=50, duration=24.0).samples
    # A quarter of the requests waits, for uniform times up to 1 s: the 95th of all is the 80th of those.
    assert 0.7 < np.quantile(open_loop.latency, 0.95) < 0.9
    closed = run_suite("rate", serve(stalling(4.0, 1.0)).url, loop="closed", users=5, pacing=0.1, duration=24.0).samples
    assert np.quantile(closed.latency, 0.95) < 0.1


@pytest.mark.slow
def test_a_client_that_is_starved_of_its_processor_is_found_out(serve, tmp_path):
    from ftx_loadtests.measuring import Plan, measure
    from ftx_loadtests.outcome import judge
    from ftx_loadtests.payloads import packaged
    from ftx_loadtests.settings import LoadSettings

    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4 * (os.cpu_count() or 2))]
    try:
        settings = LoadSettings("rate", serve().url, rate=1500, duration=5.0, warmup=0.0, slo_p99_ms=20)
        result = judge(measure(Plan(settings, packaged(), calibrate=False), Path(tmp_path)))
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    assert result.exit_code == 3
    assert result.reasons
