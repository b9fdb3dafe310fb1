"""A killed training goes on from its last complete save, and ends as one that was not killed."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import torch
from safetensors.torch import load_file

from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.finetune import run

LABELS = ["negative", "neutral", "positive"]
SETTINGS = {"epochs": 3, "batch_size": 16, "learning_rate": 1e-3, "mixed_precision": "fp32", "max_length": 32}
STEPS_PER_EPOCH = 8

SCRIPT = """
    import os, signal, sys
    from pathlib import Path
    import torch
    from ftx.artifacts import KINDS, Manifest
    from ftx.plugins import PluginManager
    from ftx.step import Context, ModelSettings
    from ftx_plugins.train import saves, trainer
    from ftx_plugins.train.config import TrainConfig
    from ftx_plugins.train.finetune import run

    folder, moment, model, data = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
    torch.set_num_threads(1)
    trainer.SECONDS_BETWEEN_REPORTS = 0  # each step is reported
    die = lambda: os.kill(os.getpid(), signal.SIGKILL)

    def emit(name, values):
        if name == "log":
            print(values["message"])
        if moment == "within the second epoch" and values.get("unit") == "steps" and values["done"] > 9:
            die()

    mark_complete = saves.mark_complete

    def marking(save):
        if moment == "before the second save is whole" and save.name == "checkpoint-16":
            die()
        mark_complete(save)
        if moment == "after the first save":
            die()

    saves.mark_complete = marking
    artifact = lambda kind, path: KINDS[kind](Path(path), Manifest(kind, {{}}, {{"labels": {labels!r}}}))
    (folder / "work").mkdir(parents=True, exist_ok=True)
    (folder / "out").mkdir(exist_ok=True)
    context = Context("train:finetune", folder / "out", folder / "work", 0, "cpu", ModelSettings("tiny"),
                      PluginManager.load(third_party=False), emit)
    inputs = {{"model": artifact("checkpoint", model), "data": artifact("dataset", data)}}
    print(run(TrainConfig(**{settings!r}), inputs, context)["history"])
"""


@pytest.fixture
def data(make_data, make_sentences):
    return make_data(make_sentences(STEPS_PER_EPOCH * 16), make_sentences(45, seed=7), LABELS)


@pytest.fixture
def train(tmp_path, tiny_encoder, data):
    """`train(moment)`: train in a process of its own, which kills itself at that moment."""
    script = textwrap.dedent(SCRIPT).format(labels=LABELS, settings=SETTINGS)

    def carry_out(moment="never"):
        arguments = [str(tmp_path / "killed"), moment, str(tiny_encoder), str(data.path)]
        return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)

    return carry_out


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("after the first save", marks=pytest.mark.slow),
        "within the second epoch",
        pytest.param("before the second save is whole", marks=pytest.mark.slow),
    ],
)
def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(
    train, moment, tmp_path, make_context, as_artifact, tiny_encoder, data
):
    undisturbed = make_context("train:finetune")
    inputs = {"model": as_artifact(tiny_encoder, "checkpoint"), "data": data}
    history = run(TrainConfig(**SETTINGS), inputs, undisturbed)["history"]
    killed = train(moment)
    assert killed.returncode == -9, killed.stderr
    assert not list((tmp_path / "killed" / "out").iterdir())
    resumed = train()
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed from epoch 1" in resumed.stdout
    assert resumed.stdout.splitlines()[-1] == str(history)
    first, second = (load_file(out / "model.safetensors") for out in (undisturbed.out, tmp_path / "killed" / "out"))
    assert all(torch.equal(first[name], second[name]) for name in first)
