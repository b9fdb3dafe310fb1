"""`train.compile`: kernels made for the model compute what the plain ones do."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from ftx import ModelSettings
from ftx_plugins.train import check as check_module
from ftx_plugins.train.config import TrainConfig

MODEL = ModelSettings("tiny")


@pytest.fixture
def without_dropout(tiny_encoder, tmp_path):
    """The tiny encoder without dropout: compiled, it draws other random numbers."""
    folder = tmp_path / "without-dropout"
    shutil.copytree(tiny_encoder, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.slow  # a minute each: a C++ compiler is at work
@pytest.mark.parametrize("settings", [{}, {"unfreeze_last": 1}, {"lora_rank": 4, "lora_dropout": 0.0}])
def test_it_trains_to_the_losses_and_weights_of_the_plain_kernels(finetune, without_dropout, settings):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    settings = {"epochs": 2, "learning_rate": 1e-3, "dropout": 0.0, **settings}
    compiled, figures = finetune(without_dropout, **settings, compile=True)
    # One each for training and evaluation: batches of another length are no reason for new kernels.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
    assert not torch._dynamo.utils.counters["graph_break"]
    plain, expected = finetune(without_dropout, **settings)
    for own, wanted in zip(figures["history"], expected["history"], strict=True):
        assert own["train_loss"] == pytest.approx(wanted["train_loss"], abs=1e-4)
        assert own["eval_loss"] == pytest.approx(wanted["eval_loss"], abs=1e-4)
    own, wanted = (load_file(context.out / "model.safetensors") for context in (compiled, plain))
    assert own.keys() == wanted.keys()
    assert all(torch.allclose(value, wanted[name], atol=1e-4) for name, value in own.items())


def test_the_model_is_compiled_where_that_is_asked_for_alone(finetune, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: compiled.append(options))
    finetune(epochs=1)
    assert not compiled
    finetune(epochs=1, compile=True)
    assert compiled == [{"dynamic": True}]


@pytest.mark.parametrize(("named", "shown"), [(None, "there is no"), ("/no/such/c++", "/no/such/c++, which CXX names")])
def test_the_plan_reports_a_machine_without_a_compiler(monkeypatch, named, shown):
    monkeypatch.delenv("CXX", raising=False)
    if named:
        monkeypatch.setenv("CXX", named)
    monkeypatch.setattr(check_module, "which", lambda name: None)
    monkeypatch.setattr(check_module.Path, "is_file", lambda path: True)
    [problem] = check_module.check(TrainConfig(compile=True), MODEL)
    assert problem.where == "train.compile"
    assert shown in problem.message
    assert "--set train.compile=false" in problem.hints[-1]
    assert not list(check_module.check(TrainConfig(), MODEL))


def test_the_plan_reports_missing_headers_of_python(monkeypatch):
    monkeypatch.setattr(check_module, "which", lambda name: name)
    monkeypatch.setattr(check_module.Path, "is_file", lambda path: path.name != "Python.h")
    [problem] = check_module.check(TrainConfig(compile=True), MODEL)
    assert "Python.h" in problem.message
