"""`ftx ui` beside a run in another process: what its page says while the run goes on, and after a kill."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal

import pytest

from ftx.runs import list_runs


@pytest.fixture
def pages(make_project):
    """A project, and the port of its pages."""
    project = make_project(rows=120, settings="")
    process = project.start("ui", "--port", "0")
    port = int(re.search(r":(\d+)/", process.stderr.readline())[1])
    yield project, port
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(20) == 0


def followed(port, run, until):
    """The parts of the run's page, as they came, until `until` is so of them."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/runs/{run}/events")
    response = connection.getresponse()
    seen = []
    while not (seen and until(seen)):
        line = response.readline()
        assert line, "the stream ended"
        if line.startswith(b"event: over"):
            seen.append({"over": ""})
        elif line.startswith(b"data: "):
            seen.append(json.loads(line.removeprefix(b"data: ")))
    connection.close()
    return seen


def run_of(project, process):
    return next(record for record in list_runs(project.store) if record.pid == process.pid)


def test_a_run_in_another_terminal_is_followed_to_its_end(pages):
    project, port = pages
    process = project.start("run", "train", "--quiet")
    project.wait_for(process, "step_started", "train:finetune")
    seen = followed(port, run_of(project, process).id, lambda seen: "over" in seen[-1])
    process.communicate()
    said = [parts.get("now", "") for parts in seen]
    assert any("train:finetune" in each for each in said)
    last = {name: html for parts in seen for name, html in parts.items()}
    assert ">done<" in last["state"] and "of the labels are right" in last["state"]
    assert "epoch 1: training loss" in last["log"]
    assert "to come" not in last["steps"] and last["board"].count("<tr class") >= 1


def test_a_run_that_is_killed_is_shown_as_killed_where_it_was(pages):
    project, port = pages
    process = project.start("run", "train", "--quiet")
    project.wait_for(process, "step_started", "train:finetune")
    run = run_of(project, process).id
    os.killpg(process.pid, signal.SIGKILL)
    seen = followed(port, run, lambda seen: "over" in seen[-1])
    process.communicate()
    last = {name: html for parts in seen for name, html in parts.items()}
    assert "stopped: killed" in last["state"] and last["now"].strip() == ""
    assert "cut off" in last["steps"]
