"""`ftx run train --processes 2`: gloo on this machine, against one process with the same rows in a batch."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

TRAIN = ("--set", "train.dropout=0.0", "--set", "train.epochs=3", "--set", "train.early_stopping=0", "--json")


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny encoder without dropout, whose masks would be others in two processes."""
    folder = shutil.copytree(tiny_encoder, tmp_path_factory.mktemp("steady") / "encoder")
    config = json.loads((folder / "config.json").read_text())
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config | dropout))
    return folder


def trained(ran: Any) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    [step] = [step for step in ran.json["steps"] if step["step"] == "train:finetune"]
    return step


@pytest.fixture(scope="module")
def both(make_project: Any, encoder: Path) -> Any:
    """A project trained in two processes, and what one process makes of the same."""
    two, one = make_project(), make_project()
    model = ("--set", f"model.name={encoder}")
    ran = two.ftx("run", "train", *TRAIN, *model, "--processes", "2")
    return two, ran, one.ftx("run", "train", *TRAIN, *model), model


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one_with_twice_the_rows_in_its_batch(both):
    _, two, one, _ = both
    curves = [
        [(epoch["train_loss"], epoch["eval_loss"]) for epoch in trained(ran)["metrics"]["history"]]
        for ran in (two, one)
    ]
    assert len(curves[0]) == 3
    for ours, theirs in zip(*curves, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)


@pytest.mark.slow
def test_only_the_leader_speaks_and_what_it_made_is_a_hit_for_one_process(both):
    project, two, _, model = both
    assert two.err.count("epoch 1: training loss") == 1 and two.err.count("kept epoch") == 1
    assert len(list(project.store.runs.glob("*/run.json"))) == 1
    again = project.ftx("run", "train", *TRAIN, *model)
    assert trained(again)["cached"] and trained(again)["artifact"] == trained(two)["artifact"]
    project.assert_store_is_whole()


@pytest.mark.slow
def test_frozen_layers_and_seeds_are_trained_by_several_processes_too(make_project, encoder):
    project = make_project()
    settings = ("--set", f"model.name={encoder}", "--set", "train.unfreeze_last=1", "--set", "train.seeds=[1, 2]")
    metrics = trained(project.ftx("run", "train", *TRAIN, *settings, "--processes", "2"))["metrics"]
    assert set(metrics["seeds"]) == {"1", "2"}


@pytest.mark.slow
def test_a_killed_process_ends_the_run_with_a_clear_error_and_the_same_command_goes_on(make_project, encoder):
    project = make_project()
    command = ("run", "train", "--set", f"model.name={encoder}", "--set", "train.epochs=4", "--processes", "2")
    process = project.start(*command, "--json")
    deadline = time.monotonic() + 120
    while not saved(project):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    [other] = [child for child in psutil.Process(process.pid).children() if child.environ().get("RANK") == "1"]
    os.kill(other.pid, signal.SIGKILL)
    broken = project.finish(process)
    assert broken.code == 1, broken.err
    assert "another process of this training is gone" in broken.json["error"]["message"]
    assert "process 1 of 2 was killed by SIGKILL" in broken.err and "Traceback" not in broken.err
    assert broken.json["error"]["hints"][-1].startswith("go on where it stopped: ftx run train --processes 2 ")
    again = project.ftx(*command, "--json")
    assert trained(again)["cached"] is False
    assert "resumed from epoch" in again.err


def saved(project: Any) -> list[Path]:
    return list(project.store.root.glob("work/*/trainer/checkpoint-*/complete.json"))


@pytest.mark.slow
def test_processes_that_a_launcher_has_started_train_together(make_project, encoder):
    project = make_project()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = ("run", "train", "--set", f"model.name={encoder}", "--set", "train.epochs=1", "--json")
    started = [project.start(*command, environment={**shared, "RANK": rank, "LOCAL_RANK": rank}) for rank in ("0", "1")]
    leader, other = (project.finish(process) for process in started)
    assert trained(leader)["metrics"]["epochs_run"] == 1
    assert (other.code, other.out) == (0, ""), other.err
    assert len(list(project.store.runs.glob("*/run.json"))) == 1


def test_what_several_processes_cannot_do_is_said_before_anything_runs(make_project):
    project = make_project()
    ran = project.ftx("run", "train", "--processes", "3", "--set", "train.batch_size=16", "--json")
    assert ran.code == 2
    assert "train.batch_size = 16 rows cannot be shared equally by 3 processes" in ran.json["error"]["message"]
    assert "--set train.batch_size=15" in ran.json["error"]["hints"]
    elsewhere = project.ftx("run", "train", "--processes", "2", "--executor", "ray")
    assert elsewhere.code == 2 and "leave one out" in elsewhere.err
    nothing = project.ftx("run", "data", "--processes", "2")
    assert nothing.code == 2 and "can be carried out by several processes" in nothing.err
    assert not (project.root / ".ftx").exists()


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_and_the_run_is_interrupted(make_project, encoder):
    project = make_project()
    process = project.start("run", "train", "--set", f"model.name={encoder}", "--processes", "2", "--json")
    deadline = time.monotonic() + 120
    while not logged(project, "step_progress"):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    children = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGINT)
    ended = project.finish(process)
    assert ended.code == 130, ended.err
    assert ended.json["status"] == "interrupted" and not any(child.is_running() for child in children)


def logged(project: Any, event: str) -> bool:
    logs = project.store.runs.glob("*/events.jsonl")
    return any(f'"event": "{event}"' in log.read_text() for log in logs)
