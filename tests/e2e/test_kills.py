"""`kill -9` at a random moment of each step: the same command completes, and nothing half-written is ever seen."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

pytestmark = pytest.mark.xdist_group("kills")

WORDS = ("train", "quantize", "export")
STEPS = (
    "data:clean",
    "train:finetune",
    "evaluate:validation",
    "quantize:auto",
    "export:bundle",
    "choose:fastest",
    "evaluate:test",
)
SEED = 20_261
TRIES = 5


@pytest.fixture(scope="module")
def texts(make_sentences):
    return [text for text, _ in make_sentences(30, seed=5)]


@pytest.fixture(scope="module")
def undisturbed(make_project, texts):
    """How the job ends when nothing kills it: its document, and the labels that its bundle gives the texts."""
    project = make_project(rows=300)
    ran = project.ftx("run", *WORDS, "--json")
    assert ran.code == 0, ran.err
    return ran.json, labels(project, texts)


def labels(project, texts):
    """Of each variant the label of each text."""
    answers = {}
    for variant in ("onnx-int8", "torchscript-fp32"):
        ran = project.ftx("predict", "latest", *texts, "--variant", variant, "--json")
        assert ran.code == 0, ran.err
        answers[variant] = [scores[0]["label"] for scores in ran.json]
    return answers


def quality(document):
    rows = document["scoreboard"]
    return [tuple(row[name] for name in ("step", "variant", "split", "accuracy", "flip_rate")) for row in rows]


def kill_within(project, step, share, document):
    """Kill the run's process group when `share` of the step's usual time has gone by; whether that was within it."""
    project.forget(step)
    seconds = next(each["seconds"] for each in document["steps"] if each["step"] == step)
    process = project.start("run", *WORDS, "--quiet")
    project.wait_for(process, "step_started", step)
    time.sleep(share * seconds)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    project.assert_store_is_whole()
    return alive and not project.logged(process, "step_finished", step)


def check_end(project, undisturbed, texts):
    """Assert that the same command completes now, as if nothing had been killed."""
    document, answers = undisturbed
    again = project.ftx("run", *WORDS, "--json")
    assert again.code == 0, again.err
    assert project.ftx("cache", "verify").code == 0
    assert not list((project.root / ".ftx" / "tmp").iterdir())
    assert quality(again.json) == quality(document)
    assert labels(project, texts) == answers


@pytest.mark.slow
def test_a_run_killed_in_training_and_again_in_export_completes_as_if_it_had_not_been(make_project, undisturbed, texts):
    project = make_project(rows=300)
    assert kill_within(project, "train:finetune", 0.6, undisturbed[0])
    assert kill_within(project, "export:bundle", 0.4, undisturbed[0])
    check_end(project, undisturbed, texts)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_run_killed_five_times_in_a_step_completes_as_if_it_had_not_been(step, make_project, undisturbed, texts):
    project = make_project(rows=300)
    moments = [random.Random(f"{SEED} {step} {number}").random() for number in range(TRIES)]
    within = [kill_within(project, step, share, undisturbed[0]) for share in moments]
    print(f"{step}: killed at {[f'{share:.0%}' for share in moments]} of its time; within it: {within}")
    assert any(within)
    check_end(project, undisturbed, texts)
