"""`ftx serve` as a process: from its first line to its exit code."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc
from click.testing import CliRunner

from ftx import machine
from ftx.artifacts import Bundle
from ftx.cli import cli
from ftx_serving import command
from ftx_serving.engine.deployment import DeploySettings

FIXED = ("--variant", "onnx-fp32", "--workers", "1", "--threads", "1", "--batch-tokens", "512", "--port", "0")
STEP = """
import sys
from pathlib import Path
from ftx.artifacts import open_artifact
from ftx.plugins import PluginManager
from ftx.step import Context, ModelSettings
from ftx_serving.hooks import ServeConfig
from ftx_serving.step import run
plugins = PluginManager.load(third_party=False)
context = Context("serve:http", Path("."), Path("."), 0, "cpu", ModelSettings("tiny"), plugins)
run(ServeConfig(port=0, variant="onnx-fp32", workers=1), {"model": open_artifact(Path(sys.argv[1]))}, context)
print("the step is done")
"""
TORCH_FREE = """
import sys, threading, os, signal
from ftx.artifacts import open_artifact
from ftx.plugins import PluginManager
from pathlib import Path
from ftx_serving.engine.deployment import DeploySettings
from ftx_serving.serve import serve
from ftx_serving.server.settings import ServerSettings
def say(line):
    if line.startswith("ready"):
        print(sorted({"torch", "transformers", "datasets", "ftx_plugins.train.finetune", "pandas"} & set(sys.modules)))
        os.kill(os.getpid(), signal.SIGTERM)
bundle = open_artifact(Path(sys.argv[1]))
plugins = PluginManager.load(third_party=False)
serve({"m": lambda: bundle}, plugins, ServerSettings(port=0, grace_seconds=0), DeploySettings(workers=1), say)
print("stopped")
"""


class Process:
    """A server process; its lines on standard error are read as they come."""

    def __init__(self, *command: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = 0

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"ready: http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 120
        while not self.port and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self.port, self.process.poll()

    def predict(self, text: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", "/predict", json.dumps({"inputs": text}))
        response = connection.getresponse()
        found = response.status, json.loads(response.read())
        connection.close()
        return found

    def status(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path)
        status = connection.getresponse().status
        connection.close()
        return status

    def end(self) -> int:
        code = self.process.wait(60)
        self._reader.join(20)
        return code


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    made: list[Process] = []

    def begin(*command: str) -> Process:
        made.append(Process(*command, folder=tmp_path))
        return made[-1]

    yield begin
    for each in made:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait(20)


@pytest.mark.slow
def test_sigterm_under_load_loses_nothing_twenty_times(start: Any, tiny_bundle: Bundle) -> None:
    for _ in range(20):
        server, outcomes = stop_under_load(start, tiny_bundle)
        assert (server.end(), set(outcomes)) == (0, {200})


def test_sigterm_under_load_loses_nothing_that_was_taken(start: Any, tiny_bundle: Bundle) -> None:
    server, outcomes = stop_under_load(start, tiny_bundle)
    assert server.end() == 0
    assert set(outcomes) == {200}
    said = [line for line in server.lines if not line.startswith("{")]
    assert re.search(r"classifier: onnx-fp32 of \w{12}, 1 worker of 1 thread; about \d+ texts/s", "".join(said))
    assert said[-1] == "stopped\n"


def stop_under_load(start: Any, bundle: Bundle) -> tuple[Process, list[int | str]]:
    """A server that was told to stop while requests came, which end once it is not ready; and what became of them."""
    server = start("-m", "ftx", "serve", str(bundle.path), *FIXED, "--grace", "2")
    server.wait_until_ready()
    outcomes: list[int | str] = []
    done = threading.Event()

    def keep_asking(asker: int) -> None:
        n = 0
        while not done.is_set():
            n += 1
            try:
                outcomes.append(server.predict(f"good {asker} {n}")[0])
            except (OSError, http.client.HTTPException) as error:
                outcomes.append(repr(error))

    askers = [threading.Thread(target=keep_asking, args=(asker,)) for asker in range(4)]
    for asker in askers:
        asker.start()
    while len(outcomes) < 20:
        time.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    while server.status("/v2/health/ready") != 503:
        time.sleep(0.01)
    unready = len(outcomes)
    while len(outcomes) < unready + 8:
        time.sleep(0.01)
    done.set()  # as whoever routes requests does, once the server is not ready
    for asker in askers:
        asker.join(60)
    return server, outcomes


def test_a_request_that_is_on_its_way_when_the_sockets_close_is_answered(start: Any, tiny_bundle: Bundle) -> None:
    server = start("-m", "ftx", "serve", str(tiny_bundle.path), *FIXED, "--grace", "0")
    server.wait_until_ready()
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as half,
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as idle,
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as unsent,
    ):
        body = json.dumps({"inputs": "love great"}).encode()
        head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        half.sendall(head + body[:5])
        idle.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert idle.recv(9).startswith(b"HTTP/1.1")
        server.process.send_signal(signal.SIGTERM)
        while not any('"stopping"' in line for line in server.lines):
            time.sleep(0.005)
        unsent.sendall(head + body)
        half.sendall(body[5:])
        for connection in (half, unsent):
            answer = b"".join(iter(lambda connection=connection: connection.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 200") and b"positive" in answer
    assert server.end() == 0


def test_grpc_is_spoken_on_a_port_of_its_own(start: Any, tiny_bundle: Bundle) -> None:
    server = start("-m", "ftx", "serve", str(tiny_bundle.path), *FIXED, "--grace", "0", "--grpc-port", "0")
    server.wait_until_ready()
    [port] = [found[1] for line in server.lines if (found := re.search(r"ready: .* grpc://127\.0\.0\.1:(\d+)", line))]
    client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}")
    tensor = tritonclient.grpc.InferInput("text", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([b"love great"], dtype=object))
    assert client.infer("classifier", [tensor]).as_numpy("label").tolist() == [b"positive"]
    client.close()
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == 0


def test_sighup_looks_for_the_bundle_again(start: Any, tiny_bundle: Bundle) -> None:
    server = start("-m", "ftx", "serve", str(tiny_bundle.path), *FIXED, "--grace", "0")
    server.wait_until_ready()
    described = sum(line.startswith("classifier:") for line in server.lines)
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 60
    while sum(line.startswith("classifier:") for line in server.lines) == described and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.predict("love great")[0] == 200
    server.process.send_signal(signal.SIGINT)
    assert server.end() == 0
    assert sum(line.startswith("classifier:") for line in server.lines) == described + 1


def test_the_step_serves_until_it_is_told_to_stop_and_is_then_done(start: Any, tiny_bundle: Bundle) -> None:
    step = start("-c", STEP, str(tiny_bundle.path))
    step.wait_until_ready()
    assert step.predict("love great")[1][0]["label"] == "positive"
    step.process.send_signal(signal.SIGTERM)
    assert step.end() == 0
    assert step.process.stdout.read() == "the step is done\n"


def test_serving_imports_neither_torch_nor_transformers(tiny_bundle: Bundle, tmp_path: Path) -> None:
    command = [sys.executable, "-c", TORCH_FREE, str(tiny_bundle.path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split("\n")[:2] == ["[]", "stopped"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["latest"], "no run in"),
        (["{bundle}", "{bundle}"], "2 models came with 0 names"),
        (["{bundle}", "--name", "a b"], "no name for a model"),
        (["{folder}"], "holds no artifact"),
        (["{bundle}", "--api-key-env", "NOT_SET_ANYWHERE"], "holds no API key"),
        (["{bundle}", "--variant", "other"], "no variant other"),
    ],
)
def test_what_cannot_be_served_is_one_clear_error(
    arguments: list[str], says: str, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    filled = [each.format(bundle=tiny_bundle.path, folder=tmp_path) for each in arguments]
    command = [sys.executable, "-m", "ftx", "serve", *filled, "--port", "0"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=dict(os.environ))
    assert ran.returncode == 2, ran.stderr
    assert says in ran.stderr and "→" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "device"),
    [
        ([], "cuda"),
        (["--runtime", "onnxruntime"], "cuda"),
        (["--runtime", "openvino"], "cpu"),
        (["--variant", "onnx-fp32"], "cuda"),
        (["--variant", "onnx-int8"], "cpu"),
        (["--variant", "onnx-int8", "--device", "cuda"], "cuda"),
    ],
)
def test_on_a_gpu_machine_what_runs_on_the_processor_only_is_served_there(
    arguments: list[str], device: str, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[DeploySettings] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "has_cuda", lambda: True)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(command, "serve", lambda found, plugins, server, deploy, say: served.append(deploy))
    ran = CliRunner().invoke(cli, ["serve", str(tiny_bundle.path), *arguments], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    assert [each.device for each in served] == [device]


def test_a_port_that_is_taken_is_a_clear_error(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "ftx", "serve", str(tiny_bundle.path), "--port", str(port)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert ran.returncode == 2
    assert f"127.0.0.1:{port} cannot be listened on" in ran.stderr and "--port 0" in ran.stderr
