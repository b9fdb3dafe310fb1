"""`ftx sweep` on the real training: what it prints, that its best run is a run like any other, and that it goes on."""

from __future__ import annotations

import json
import shlex
import signal
import tomllib
from typing import Any

import pytest

pytestmark = pytest.mark.slow

RANGES = (
    "--set", "train.learning_rate=1e-4..5e-3:log",
    "--set", "train.loss=cross-entropy|focal",
    "--set", "train.epochs=2..3",
)  # fmt: skip


@pytest.fixture(scope="module")
def swept(make_project: Any) -> Any:
    project = make_project()
    ran = project.ftx("sweep", "train", *RANGES, "--trials", "3", "--json")
    assert ran.code == 0, ran.err
    return project, ran


def test_every_trial_trained_with_its_own_settings_and_told_each_epoch(swept):
    _, ran = swept
    trials = ran.json["trials"]
    assert [trial["state"] for trial in trials] == ["done"] * 3
    for trial in trials:
        assert set(trial["values"]) == {"train.learning_rate", "train.loss", "train.epochs"}
        assert list(trial["epochs"]) == [str(epoch + 1) for epoch in range(int(trial["values"]["train.epochs"]))]
    assert ran.json["objective"] == {"name": "f1_macro", "direction": "maximize"}
    assert ran.json["best"]["figure"] == max(trial["figure"] for trial in trials)


def test_the_command_that_it_prints_is_all_hits(swept):
    project, ran = swept
    words = shlex.split(ran.json["best"]["command"])
    assert words[:3] == ["ftx", "run", "train"]
    again = project.ftx(*words[1:], "--json")
    assert again.code == 0, again.err
    assert all(step["cached"] for step in again.json["steps"])
    assert again.json["artifact"] == ran.json["run"]["artifact"]


def test_the_lines_for_the_file_are_the_best_trials_settings(swept):
    _, ran = swept
    best = ran.json["best"]
    table = tomllib.loads(best["toml"])["train"]
    assert table["learning_rate"] == float(best["values"]["train.learning_rate"])
    assert table["loss"] == best["values"]["train.loss"] and table["epochs"] == int(best["values"]["train.epochs"])


def test_the_table_marks_the_best_and_the_command_is_shown(swept):
    project, ran = swept
    shown = project.ftx("sweep", "train", *RANGES, "--trials", "3")
    assert shown.code == 0, shown.err
    [marked] = [line for line in shown.out.splitlines() if line.strip().startswith("*")]
    assert f"{ran.json['best']['figure']:.4f}" in marked
    assert ran.json["best"]["command"] in shown.out and "[train]" in shown.out
    assert "trial 1 of 3" not in shown.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_sweep_that_is_interrupted_or_killed_goes_on_with_the_same_trial(make_project, number):
    project = make_project()
    command = ("sweep", "train", *RANGES, "--trials", "2", "--json")
    process = project.start(*command)
    project.wait_for(process, "step_evaluated", "train:finetune")
    process.send_signal(number)
    broken = project.finish(process)
    assert broken.code == (130 if number == signal.SIGINT else -9)
    [file] = project.store.root.glob("sweeps/*/trials.json")
    [begun] = json.loads(file.read_text())["trials"]
    assert begun["state"] == "running" and "1" in begun["epochs"]
    if number == signal.SIGINT:
        assert broken.hints[-1].startswith("go on where it stopped: ftx sweep train --trials 2 --set ")
        assert broken.json["error"]["code"] == 130
        assert broken.json["trials"][0]["state"] == "running"
    again = project.ftx(*command)
    assert again.code == 0, again.err
    assert again.json["trials"][0]["values"] == begun["values"]
    assert [trial["state"] for trial in again.json["trials"]] == ["done", "done"]
    project.assert_store_is_whole()


def test_a_wrong_range_is_one_error_before_anything_runs(make_project):
    project = make_project()
    ran = project.ftx("sweep", "train", "--set", "train.epochs=3..1", "--set", "train.dropout=0..2", "--json")
    assert ran.code == 2
    assert "the range is empty" in ran.json["error"]["message"]
    assert "train.dropout = 2" in ran.json["error"]["message"]
    assert not (project.root / ".ftx").exists()
