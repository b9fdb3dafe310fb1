"""`train.average`: the mean of the weights after each of the last steps."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from ftx_plugins.train import finish as finish_module
from ftx_plugins.train import trainer

SETTINGS = {"epochs": 2, "learning_rate": 3e-3, "early_stopping": 0}
STEPS = 16


def weights(context):
    return load_file(context.out / "model.safetensors")


@pytest.fixture
def steps_taken(monkeypatch):
    """The trained weights after each optimizer step, as a list that fills while a model trains."""
    taken = []
    on_step_end = trainer.Reporter.on_step_end

    def recording(self, args, state, control, model=None, **more):
        taken.append({name: value.detach().double().clone() for name, value in model.named_parameters()})
        on_step_end(self, args, state, control, **more)

    monkeypatch.setattr(trainer.Reporter, "on_step_end", recording)
    return taken


def test_the_weights_kept_are_the_mean_over_the_last_steps(finetune, steps_taken, recorder):
    context, metrics = finetune(**SETTINGS, average="last-steps", average_share=0.3, keep_average="always")
    assert len(steps_taken) == STEPS
    for name, value in weights(context).items():
        mean = sum(step[name] for step in steps_taken[-5:]) / 5
        assert torch.allclose(value.double(), mean, atol=1e-6), name
    head = "classifier.weight"
    assert not torch.allclose(weights(context)[head].double(), steps_taken[-1][head], atol=1e-6)
    assert metrics["average"]["steps"] == 5
    assert metrics["average"]["kept"]
    assert metrics["validation"]["loss"] == metrics["average"]["validation"]["loss"]
    assert any("the average of the last 5 steps is kept" in message for message in recorder.messages("log"))


@pytest.mark.parametrize("is_better", [True, False])
def test_the_average_is_kept_only_where_it_is_better_than_the_best_epoch(finetune, monkeypatch, is_better):
    figures_of, order = finish_module.figures_of, []

    def measured(*args):  # the best epoch first, the average second
        order.append(0.5 + 0.1 * len(order) if is_better else 0.5)
        return {**figures_of(*args), "f1_macro": order[-1]}

    monkeypatch.setattr(finish_module, "figures_of", measured)
    averaged, metrics = finetune(**SETTINGS, average="last-steps")
    plain, _ = finetune(**SETTINGS)
    assert len(order) == 2
    same = all(torch.equal(value, weights(plain)[name]) for name, value in weights(averaged).items())
    assert metrics["average"]["kept"] is is_better
    assert same is not is_better


def test_averaging_changes_nothing_of_the_training_itself(finetune):
    (_, averaged), (_, plain) = (finetune(**SETTINGS, average=average) for average in ("last-steps", "off"))
    assert averaged["history"] == plain["history"]
    assert "average" not in plain


def test_a_killed_training_ends_with_the_same_average(finetune, make_context, monkeypatch):
    settings = {**SETTINGS, "average": "last-steps", "average_share": 0.9, "keep_average": "always"}
    whole, _ = finetune(**settings)

    class Killed(BaseException):
        pass

    on_step_end = trainer.Reporter.on_step_end

    def killed_in_the_second_epoch(self, args, state, control, **more):
        if state.global_step == STEPS - 3:
            raise Killed
        on_step_end(self, args, state, control, **more)

    context = make_context("train:finetune")
    monkeypatch.setattr(trainer.Reporter, "on_step_end", killed_in_the_second_epoch)
    with pytest.raises(Killed):
        finetune(**settings, context=context)
    monkeypatch.setattr(trainer.Reporter, "on_step_end", on_step_end)
    _, metrics = finetune(**settings, context=context)
    assert metrics["average"]["steps"] == 15
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(context).items())


def test_a_training_that_stops_before_the_last_steps_keeps_its_best_epoch(finetune, recorder):
    _, metrics = finetune(epochs=20, learning_rate=1e-7, early_stopping=1, average="last-steps", average_share=0.1)
    assert metrics["epochs_run"] < 18
    assert metrics["average"] == {"steps": 0, "kept": False}
    assert any("nothing was averaged" in message for message in recorder.messages("log"))


def test_only_what_trains_is_averaged_beside_frozen_layers(finetune):
    context, metrics = finetune(
        **SETTINGS, average="last-steps", average_share=0.5, keep_average="always", unfreeze_last=1
    )
    plain, _ = finetune(**SETTINGS, unfreeze_last=1)
    averaged, trained = weights(context), weights(plain)
    assert torch.equal(
        averaged["bert.encoder.layer.0.output.dense.weight"], trained["bert.encoder.layer.0.output.dense.weight"]
    )
    assert not torch.equal(
        averaged["bert.encoder.layer.1.output.dense.weight"], trained["bert.encoder.layer.1.output.dense.weight"]
    )
    assert metrics["average"]["kept"]
