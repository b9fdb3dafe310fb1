"""`kill -9` at a random moment of each step: the same command completes, and nothing half-written is ever seen."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

pytestmark = pytest.mark.xdist_group("kills")

WORDS = ("train", "quantize", "export")
STEPS = ("data:clean", "train:finetune", "evaluate:validation", "quantize:dynamic", "export:bundle", "evaluate:test")
SEED = 20_261
TRIES = 5


@pytest.fixture(scope="module")
def undisturbed(make_project, make_sentences):
    """How the job ends when nothing kills it, and the seconds that each step took."""
    project = make_project(rows=300)
    ran = project.ftx("run", *WORDS, "--json")
    assert ran.code == 0, ran.err
    return ran.json


def answers(project, make_sentences):
    texts = [text for text, _ in make_sentences(20, seed=5)]
    ran = project.ftx("predict", "latest", *texts, "--json")
    assert ran.code == 0, ran.err
    return [[score["label"] for score in scores] for scores in ran.json]


def kill_within(project, step, share, seconds):
    """Run, and kill the process group when `share` of the step's usual time has gone by; whether it was still alive."""
    process = project.start("run", *WORDS, "--quiet")
    project.wait_for(process, step)
    time.sleep(share * seconds)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return alive


def check_kills(project, step, undisturbed, make_sentences, moments):
    seconds = next(each["seconds"] for each in undisturbed["steps"] if each["step"] == step)
    killed = 0
    for share in moments:
        killed += kill_within(project, step, share, seconds)
        project.assert_store_is_whole()
    assert killed, f"no try of {step} was killed in time"
    again = project.ftx("run", *WORDS, "--json")
    assert again.code == 0, again.err
    assert project.ftx("cache", "verify").code == 0
    quality = [(row["step"], row["variant"], row["split"], row["accuracy"]) for row in again.json["scoreboard"]]
    expected = [(row["step"], row["variant"], row["split"], row["accuracy"]) for row in undisturbed["scoreboard"]]
    assert quality == expected
    assert answers(project, make_sentences)


@pytest.mark.parametrize("step", ["train:finetune", "export:bundle"])
def test_a_run_killed_once_completes_as_if_it_had_not_been(step, make_project, undisturbed, make_sentences):
    check_kills(make_project(rows=300), step, undisturbed, make_sentences, [0.5])


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_run_killed_five_times_in_a_step_completes_as_if_it_had_not_been(
    step, make_project, undisturbed, make_sentences
):
    moments = [random.Random(f"{SEED} {step} {number}").random() for number in range(TRIES)]
    print(f"{step}: killed at {[f'{moment:.0%}' for moment in moments]} of its time")
    check_kills(make_project(rows=300), step, undisturbed, make_sentences, moments)
