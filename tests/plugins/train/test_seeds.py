from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.soup import make_soup

SETTINGS = {"epochs": 3, "learning_rate": 3e-3}


def weights(context):
    return load_file(context.out / "model.safetensors")


def test_a_uniform_soup_holds_the_mean_of_the_weights_that_each_seed_alone_leads_to(finetune):
    souped, metrics = finetune(**SETTINGS, seeds=(1, 2), combine="uniform")
    one, other = (weights(finetune(**SETTINGS, seeds=(seed,))[0]) for seed in (1, 2))
    assert any(not torch.equal(one[name], other[name]) for name in one)
    for name, value in weights(souped).items():
        assert torch.allclose(value, (one[name] + other[name]) / 2, atol=1e-6), name
    assert set(metrics["seeds"]) == {"1", "2"}
    assert sorted(metrics["combined"]) == [1, 2]


def test_the_best_seed_is_kept_alone_where_that_is_asked_for(finetune):
    _, metrics = finetune(**SETTINGS, seeds=(1, 2, 3), combine="best")
    best = max(metrics["seeds"], key=lambda seed: metrics["seeds"][seed]["f1_macro"])
    assert [str(seed) for seed in metrics["combined"]] == [best]
    assert metrics["validation"]["f1_macro"] == metrics["seeds"][best]["f1_macro"]


def test_a_greedy_soup_is_never_worse_on_validation_rows_than_the_best_seed(finetune):
    _, metrics = finetune(**SETTINGS, seeds=(1, 2, 3))
    assert metrics["validation"]["f1_macro"] >= max(seed["f1_macro"] for seed in metrics["seeds"].values())


def test_a_greedy_soup_leaves_out_a_seed_that_makes_it_worse():
    model = torch.nn.Linear(1, 1, bias=False)
    weights = {seed: {"weight": torch.tensor([[value]])} for seed, value in ((1, 1.0), (2, -9.0), (3, 3.0))}

    def evaluate(model):  # best at 2
        return {"accuracy": -abs(float(model.weight.detach()) - 2)}

    figures = {seed: {"accuracy": -abs(float(one["weight"]) - 2)} for seed, one in weights.items()}
    soup = make_soup(model, weights, figures, "greedy", "accuracy", evaluate)
    assert sorted(soup.seeds) == [1, 3]
    assert float(model.weight.detach()) == 2
    assert soup.figures == {"accuracy": 0.0}


def test_a_killed_run_does_not_train_finished_seeds_again(finetune, make_context, monkeypatch, recorder):
    from ftx_plugins.train import finetune as module

    whole, _ = finetune(**SETTINGS, seeds=(1, 2), combine="uniform")
    context = make_context("train:finetune")
    train_seed = module._train_seed

    class Killed(BaseException):
        pass

    def killed_at_the_second(job, model, seed):
        if seed == 2:
            raise Killed
        return train_seed(job, model, seed)

    monkeypatch.setattr(module, "_train_seed", killed_at_the_second)
    with pytest.raises(Killed):
        finetune(**SETTINGS, seeds=(1, 2), combine="uniform", context=context)
    monkeypatch.setattr(module, "_train_seed", train_seed)
    finetune(**SETTINGS, seeds=(1, 2), combine="uniform", context=context)
    assert "training had finished before: its best epoch is taken" in recorder.messages("log")
    assert all(torch.equal(weights(whole)[name], value) for name, value in weights(context).items())


def test_seeds_reuse_what_frozen_layers_give(finetune):
    reused, plain = (
        weights(finetune(seeds=(1, 2), combine="uniform", unfreeze_last=1, reuse_frozen=reuse)[0])
        for reuse in (True, False)
    )
    assert all(torch.allclose(reused[name], plain[name], atol=1e-5) for name in plain)


def test_a_seed_named_twice_is_refused():
    with pytest.raises(ValueError, match="a seed is named twice"):
        TrainConfig(seeds=(1, 1))
