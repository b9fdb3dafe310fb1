"""`ftx run … serve loadtest`: the run's server is started, tested, and stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from ftx.artifacts import LoadTest, open_artifact
from ftx.errors import ExitCode
from ftx.testing.projects import Project

pytestmark = pytest.mark.xdist_group("load-tested-run")

SERVING = """
[serve]
port = 0
variant = "onnx-fp32"
workers = 1
threads = 1
batch_tokens = 512

[loadtest]
calibrate = false
warmup = 0.2
"""


@pytest.fixture(scope="module")
def project(make_project: Any) -> Project:
    """A project with a small model that is trained and exported."""
    made: Project = make_project(settings=SERVING)
    ran = made.ftx("run", "train", "export", "--json")
    assert ran.code == 0, ran.err
    return made


def step(document: Any, name: str) -> Any:
    (found,) = [each for each in document["steps"] if each["step"] == name]
    return found


def test_a_run_starts_its_server_tests_it_stops_it_and_keeps_the_result(project: Project) -> None:
    ran = project.ftx("run", "train", "export", "serve", "loadtest", "--set", "loadtest.suite=smoke", "--json")
    assert ran.code == 0, ran.err
    tested = step(ran.json, "loadtest:http")
    assert tested["metrics"]["verdict"] == "pass"
    assert tested["metrics"]["agreement"]["share"] == 1.0
    artifact = open_artifact(Path(tested["artifact"]["path"]))
    assert isinstance(artifact, LoadTest)
    assert json.loads((artifact.path / "result.json").read_text())["requests"] == tested["metrics"]["requests"]
    assert not psutil.pid_exists(step(ran.json, "serve:http")["metrics"]["pid"])


def test_a_missed_slo_fails_the_run_as_a_broken_budget_does_and_is_kept(project: Project) -> None:
    settings = ("suite=rate", "rate=150", "duration=4", "slo_p99_ms=0.01")
    options = [word for setting in settings for word in ("--set", f"loadtest.{setting}")]
    ran = project.ftx("run", "train", "export", "serve", "loadtest", *options, "--json")
    tested = step(ran.json, "loadtest:http")
    # The client is later than 5% of so small an SLO, which makes the measurement invalid; either way it has failed.
    assert ran.code == (ExitCode.BUDGET if tested["metrics"]["valid"] else ExitCode.STEP_FAILED), ran.err
    assert tested["metrics"]["exit_code"] in (1, 3)
    assert Path(tested["artifact"]["path"]).is_dir()
    assert any("ftx show" in hint for hint in ran.hints)


def test_a_load_test_without_a_server_or_a_rate_is_refused_while_the_plan_is_made(project: Project) -> None:
    ran = project.ftx("run", "train", "export", "loadtest", "--set", "loadtest.suite=rate")
    assert ran.code == ExitCode.USER
    assert "asks a server, and nothing before it starts one" in ran.err
    assert "the suite rate needs rate" in ran.err
    assert "ftx run train export serve loadtest" in ran.hints
