from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel

from ftx_plugins.train import frozen


def weights(context):
    return load_file(context.out / "model.safetensors")


@pytest.mark.parametrize("count", [0, 1])
def test_reusing_what_frozen_layers_give_leads_to_the_losses_and_weights_of_computing_it_in_each_epoch(finetune, count):
    (reused, kept), (plain, computed) = (
        finetune(epochs=3, unfreeze_last=count, dropout=0.2, reuse_frozen=reuse) for reuse in (True, False)
    )
    for one, other in zip(kept["history"], computed["history"], strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], abs=1e-5)
        assert one["eval_loss"] == pytest.approx(other["eval_loss"], abs=1e-5)
    one, other = weights(reused), weights(plain)
    assert set(one) == set(other)
    assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)


def test_the_frozen_layers_run_once_over_each_row_however_many_epochs(finetune, monkeypatch):
    rows = 0
    compute = frozen.FrozenPart.compute

    def counting(self, model, *arguments, **more):
        def count(module, inputs, output):
            nonlocal rows
            rows += len(inputs[0])

        self._layers[0].register_forward_hook(count)
        compute(self, model, *arguments, **more)

    monkeypatch.setattr(frozen.FrozenPart, "compute", counting)
    skip = frozen.FrozenPart.skip
    seen = []

    def skipping(self):
        seen.append(rows)
        for hook in list(self._layers[0]._forward_hooks):
            del self._layers[0]._forward_hooks[hook]
        skip(self)

    monkeypatch.setattr(frozen.FrozenPart, "skip", skipping)
    finetune(epochs=3, unfreeze_last=1)
    # The hook of the first split is still there in the second: its rows count twice.
    assert seen == [120 + 2 * 45]


def test_a_killed_computation_goes_on_behind_the_rows_that_it_had_kept(finetune, make_context, monkeypatch):
    monkeypatch.setattr(frozen, "SECONDS_BETWEEN_MARKS", 0.0)
    whole, _ = finetune(unfreeze_last=1)
    context = make_context("train:finetune")
    mark = frozen._mark

    class Killed(BaseException):
        pass

    def kill(folder, rows):
        mark(folder, rows)
        if rows > 60:
            raise Killed

    monkeypatch.setattr(frozen, "_mark", kill)
    with pytest.raises(Killed):
        finetune(unfreeze_last=1, context=context)
    marked = []
    monkeypatch.setattr(frozen, "_mark", lambda folder, rows: (marked.append(rows), mark(folder, rows)))
    shutil.rmtree(context.out)
    context.out.mkdir()
    finetune(unfreeze_last=1, context=context)
    assert marked[0] > 60
    assert all(torch.equal(weights(whole)[name], values) for name, values in weights(context).items())


def test_where_the_disk_has_no_room_the_layers_are_computed_in_every_epoch_and_it_is_said(
    finetune, monkeypatch, recorder
):
    monkeypatch.setattr(frozen, "FREE_SHARE", 0.0)
    _, metrics = finetune(unfreeze_last=1)
    assert metrics["epochs_run"] == 2
    assert any("computed in every epoch: it takes" in message for message in recorder.messages("log"))


@pytest.fixture
def encoder_of(tiny_encoder, tmp_path):
    """`encoder_of(family)`: a folder with an encoder of that family, two layers, behind the tiny tokenizer."""

    def make(family):
        folder = tmp_path / family
        shutil.copytree(tiny_encoder, folder, ignore=shutil.ignore_patterns("model.safetensors", "config.json"))
        own = {
            "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
            "modernbert": {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
        }
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        config = AutoConfig.for_model(
            family,
            vocab_size=200,
            max_position_embeddings=66,
            pad_token_id=0,
            **own.get(family, {}),
            **({} if family == "distilbert" else sizes),
        )
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
        return folder

    return make


@pytest.mark.parametrize("family", ["roberta", "electra", "distilbert", "modernbert"])
def test_every_family_gives_the_same_with_and_without_reuse(finetune, encoder_of, family, recorder):
    folder = encoder_of(family)
    reused, plain = (finetune(folder, unfreeze_last=1, reuse_frozen=reuse)[0] for reuse in (True, False))
    assert not [message for message in recorder.messages("log") if "computed in every epoch" in message]
    one, other = weights(reused), weights(plain)
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)
