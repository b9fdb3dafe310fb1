"""`ftx serve --replicas`: several processes on one port."""

from __future__ import annotations

import http.client
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.serving.test_serve_command import FIXED, Process

from ftx.artifacts import Bundle
from ftx_serving.server import replicas
from ftx_serving.server.settings import ServerSettings
from ftx_serving.server.siblings import merge


@pytest.fixture
def server(tmp_path: Path, tiny_bundle: Bundle) -> Iterator[Process]:
    server = Process(
        "-m", "ftx", "serve", str(tiny_bundle.path), *FIXED, "--replicas", "2", "--grace", "0.5", folder=tmp_path
    )
    server.wait_until_ready()
    yield server
    if server.process.poll() is None:
        server.process.kill()
        server.process.wait(20)


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(server: Process) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


def count(server: Process, part: str) -> int:
    return sum(part in line for line in server.lines)


def get(server: Process, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", path)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def test_replicas_share_a_port_and_the_cores_and_show_all_measurements(server: Process) -> None:
    assert len(children(server)) == 2
    if hasattr(os, "sched_getaffinity") and len(mine := os.sched_getaffinity(0)) > 1:
        shares = [set(child.cpu_affinity()) for child in children(server)]
        assert not shares[0] & shares[1] and shares[0] | shares[1] <= mine
    assert {server.predict("love great")[0] for _ in range(20)} == {200}
    metrics = get(server, "/metrics")
    served = [line for line in metrics.splitlines() if line.startswith("ftx_predictions_total")]
    assert sum(float(line.split()[-1]) for line in served) == 20
    assert all(f'ftx_queue_items{{model="classifier",replica="{n}"}} 0.0' in metrics for n in (0, 1))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", "/v2/repository/models/classifier/load")
    assert connection.getresponse().status == 200
    connection.close()
    assert count(server, "replica 0: classifier:") == count(server, "replica 1: classifier:") == 2
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: count(server, "replica 0: classifier:") == count(server, "replica 1: classifier:") == 3)
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == 0
    assert server.lines[-1] == "stopped\n"


def test_a_replica_that_dies_is_started_again_while_the_others_answer(server: Process) -> None:
    victim, survivor = children(server)
    victim.kill()
    wait_for(lambda: count(server, "has died; it is started again"))
    assert {server.predict("love great")[0] for _ in range(20)} == {200}
    wait_for(lambda: count(server, "replica 0: classifier:") == 2)
    wait_for(lambda: 'replica="0"' in get(server, "/metrics"))
    assert len(children(server)) == 2 and survivor in children(server)
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == 0


def test_sigterm_under_load_loses_nothing_that_was_taken(server: Process) -> None:
    outcomes: list[int | str] = []
    done = threading.Event()

    def keep_asking(asker: int) -> None:
        while not done.is_set():
            try:
                outcomes.append(server.predict(f"good {asker}")[0])
            except (OSError, http.client.HTTPException) as error:
                outcomes.append(repr(error))

    askers = [threading.Thread(target=keep_asking, args=(asker,)) for asker in range(4)]
    for asker in askers:
        asker.start()
    wait_for(lambda: len(outcomes) >= 20)
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: server.status("/v2/health/ready") == 503)
    done.set()
    for asker in askers:
        asker.join(60)
    assert server.end() == 0
    assert set(outcomes) == {200}


def test_replicas_end_when_the_parent_is_killed(server: Process) -> None:
    orphans = children(server)
    server.process.kill()
    assert not psutil.wait_procs(orphans, timeout=60)[1]


def test_a_bundle_that_must_not_serve_is_one_clear_error(tiny_bundle: Bundle, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ftx", "serve", str(tiny_bundle.path), "--port", "0", "--replicas", "2"]
    ran = subprocess.run([*command, "--variant", "other"], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr.count("no variant other") == 1 and "→" in ran.stderr


def test_the_wait_doubles_while_a_replica_dies_before_it_is_ready_also_of_an_error_that_it_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    wakeup, other = socket.socketpair()
    with wakeup, other, socket.socket() as listener:
        parent = replicas._Parent(ServerSettings(), "cpu", lambda *_: None, said.append, listener, tmp_path, wakeup)
        parent._state.announced = True
        [child] = parent._state.children
        for ready in (False, False, False, True, False):
            reading, writing = os.pipe()
            os.write(writing, b'{"ready": true}\n' if ready else b'{"error": "no bundle"}\n')
            os.close(writing)
            os.set_blocking(reading, False)
            child.messages = reading
            parent._selector.register(reading, selectors.EVENT_READ, child)
            parent._ended(child, 1)
        parent._selector.close()
        os.close(parent._lifeline)
        os.close(parent._held)
    waits = [re.search(r"again in (\S+) s", line) for line in said]
    assert [found[1] for found in waits if found] == ["0.5", "1", "2", "0.5", "0.5"]


@pytest.mark.parametrize(
    ("visible", "expected"), [(None, ["0", "1", "2"]), ("4,7", ["4", "7", "4"]), ("GPU-ab", ["GPU-ab"] * 3)]
)
def test_each_replica_sees_a_gpu_of_its_own(
    visible: str | None, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: None)
    found = []
    for number in range(3):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        replicas._take_share(number, 3, "cuda")
        found.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert found == expected


def test_measurements_of_replicas_are_merged_with_their_number() -> None:
    text = b'# HELP a_total Help\n# TYPE a_total counter\na_total{x="1"} 2.0\n'
    merged = merge({1: text, 0: text}).decode()
    assert merged.count("# TYPE a_total counter") == 1
    assert 'a_total{replica="0",x="1"} 2.0' in merged and 'a_total{replica="1",x="1"} 2.0' in merged
