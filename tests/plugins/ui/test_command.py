"""`ftx ui` as a process: its address, its end, and what is said where something is wrong."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from ftx.cli import cli
from ftx.cli.ui import NEEDS
from ftx.errors import FtxError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ftx.toml").write_text("seed = 0\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_its_address_serves_and_ends_in_order_when_it_is_stopped(project: Path, number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ftx", "--no-plugins", "ui", "--port", "0"],
        cwd=project,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = process.stderr.readline()
    found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/ shows (.*); Ctrl-C ends it\n", said)
    assert found is not None and found[2] == str(project / ".ftx"), said
    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=20)
    connection.request("GET", "/runs")
    assert connection.getresponse().status == 200
    following = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=20)
    following.request("GET", "/runs/events")
    assert following.getresponse().readline().startswith(b"data: ")
    os.kill(process.pid, number)
    assert process.wait(20) == 0
    assert "Traceback" not in process.stderr.read()
    assert not (project / ".ftx").exists(), "looking at a project leaves nothing in it"


def test_a_port_that_is_taken_is_one_clear_error(project: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(FtxError, match="cannot be listened on") as caught:
            CliRunner().invoke(
                cli, ["--no-plugins", "ui", "--port", str(taken.getsockname()[1])], catch_exceptions=False
            )
    assert caught.value.code == 2 and caught.value.hints == ("choose another: --port 0",)


def test_what_is_missing_is_named_with_the_line_that_installs_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftx.cli.ui.find_spec", lambda name: None if name == "starlette" else object())
    with pytest.raises(FtxError, match="the pages need starlette") as caught:
        CliRunner().invoke(cli, ["ui"], catch_exceptions=False)
    assert caught.value.hints == ("install them: pip install 'ftx-toolchain[ui]'",)


def test_all_that_the_extra_installs_is_looked_for() -> None:
    root = Path(__file__).parents[3]
    extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    (of_report, *own) = extras["ui"]
    assert of_report == "ftx-toolchain[report]"
    names = {re.split(r"[><=]", line)[0] for line in (*extras["report"], *own)}
    assert set(NEEDS) == {"sklearn" if name == "scikit-learn" else name for name in names}
