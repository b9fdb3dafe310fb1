"""Seeds that vote: one checkpoint that holds them all, and goes through the other steps like any other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import ModernBertConfig, ModernBertForSequenceClassification

from ftx.artifacts import Checkpoint, Manifest
from ftx.errors import FtxError
from ftx.hashing import hash_folder
from ftx.testing.tiny import make_with
from ftx_plugins.checkpoint import LoadedCheckpoint, compute_logits, load_checkpoint, read_model, save_checkpoint
from ftx_plugins.ensemble import hard_vote, make_ensemble, soft_vote, vote_jump
from ftx_plugins.evaluate.candidates import candidates_of
from ftx_plugins.prune import layers
from ftx_plugins.prune.config import LayersConfig
from ftx_plugins.quantize.recipe import Recipe
from ftx_plugins.train.config import TrainConfig
from ftx_serving.predictor import Predictor

SETTINGS = {"epochs": 2, "learning_rate": 3e-3}


def probabilities(logits):
    return torch.as_tensor(logits).softmax(dim=-1)


def perturbed(classifier, seed):
    """The classifier with other weights, as another seed would have them."""
    model = load_checkpoint(classifier).model
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="module", params=["soft", "hard"])
def ensemble(request, tiny_classifier, tmp_path_factory):
    """A checkpoint of three members, by either vote, and the members."""
    given = load_checkpoint(tiny_classifier)
    members = [perturbed(tiny_classifier, seed) for seed in range(3)]
    folder = tmp_path_factory.mktemp(request.param)
    model = make_ensemble(members, request.param)
    save_checkpoint(LoadedCheckpoint(model, given.tokenizer, given.labels, given.max_length), folder)
    meta = {"task": "text-classification", "ensemble": {"members": 3, "vote": request.param}}
    return Checkpoint(folder, Manifest("checkpoint", hash_folder(folder), meta)), members


def test_softmax_of_a_soft_vote_is_the_mean_of_the_members_probabilities():
    logits = torch.randn(3, 20, 4, dtype=torch.float64) * 200  # so far apart that probabilities underflow
    assert torch.allclose(probabilities(soft_vote(logits)), probabilities(logits).mean(dim=0))
    assert soft_vote(logits).isfinite().all()


def test_the_label_with_the_most_votes_wins_however_sure_the_minority_is():
    sure, unsure = [9.0, -9.0, -9.0], [0.0, 0.1, 0.0]
    logits = torch.tensor([[sure], [unsure], [unsure]])
    assert hard_vote(logits).argmax() == 1
    assert soft_vote(logits).argmax() == 0


def test_the_mean_probability_decides_between_labels_with_as_many_votes():
    logits = torch.tensor([[[3.0, 0.0, 0.0]], [[0.0, 2.0, 0.0]]])
    assert hard_vote(logits).argmax() == 0
    shares = probabilities(hard_vote(logits))[0]
    mean = probabilities(logits).mean(dim=0)[0]
    assert torch.allclose(shares, (torch.tensor([1.0, 1.0, 0.0]) + mean) / 3)


def test_a_vote_that_falls_to_another_label_as_likely_moves_no_logit_beyond_the_jump():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 500, 4, generator=generator)
    top = logits[0].topk(2, dim=-1)
    rows = torch.arange(500)
    logits[0, rows, top.indices[:, 0]] = top.values[:, 1] + 1e-4
    before = hard_vote(logits)
    logits[0, rows, top.indices[:, 0]] = top.values[:, 1] - 1e-4
    moved = (hard_vote(logits) - before).abs().max()
    jump = vote_jump({"members": 3, "vote": "hard"}, 4)
    assert 1 < moved <= jump + 1e-3
    assert vote_jump({"members": 3, "vote": "soft"}, 4) == vote_jump(None, 4) == 0


def test_members_of_another_architecture_and_shape_come_back_as_they_were(tmp_path, tiny_classifier):
    from ftx_plugins.prune.anatomy import dissect
    from ftx_plugins.prune.architectures import ARCHITECTURES
    from ftx_plugins.prune.surgery import keep_units, settle

    cut = load_checkpoint(tiny_classifier).model
    anatomy = dissect(cut, {each.name: each for each in ARCHITECTURES})
    keep_units(anatomy.feed_forward(0), range(24))
    settle(anatomy)
    names = {"id2label": cut.config.id2label, "label2id": cut.config.label2id}
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    other = ModernBertForSequenceClassification(
        ModernBertConfig(vocab_size=cut.config.vocab_size, **sizes, **names, **special)
    ).eval()
    ensemble = make_ensemble([cut, other], "soft")
    ensemble.save_pretrained(tmp_path)
    read, missing = read_model(tmp_path)
    inputs = {"input_ids": torch.randint(5, 30, (3, 9)), "attention_mask": torch.ones(3, 9, dtype=torch.int64)}
    with torch.inference_mode():
        assert torch.allclose(read.eval()(**inputs).logits, ensemble(**inputs).logits, atol=1e-6)
    assert not missing
    assert read.members[0].bert.encoder.layer[0].intermediate.dense.out_features == 24


def test_seeds_that_vote_answer_with_what_each_seed_alone_has_learned(finetune, data):
    from ftx_plugins.data.splits import load_rows

    context, metrics = finetune(**SETTINGS, seeds=(1, 2), combine="soft-vote")
    texts = load_rows(data, "validation").texts
    alone = [load_checkpoint(finetune(**SETTINGS, seeds=(seed,))[0].out) for seed in (1, 2)]
    expected = sum(probabilities(compute_logits(one, texts)) for one in alone) / 2
    voting = load_checkpoint(context.out)
    assert torch.allclose(probabilities(compute_logits(voting, texts)), expected, atol=1e-5)
    assert voting.max_length == alone[0].max_length
    assert sorted(metrics["combined"]) == [1, 2]
    assert context.meta["ensemble"] == {"members": 2, "vote": "soft"}
    predicted = np.array(voting.labels)[expected.argmax(dim=-1)]
    wanted = np.array(data.meta["labels"])[load_rows(data, "validation").labels]
    assert metrics["validation"]["accuracy"] == pytest.approx((predicted == wanted).mean())


def test_the_size_of_an_ensemble_is_that_of_all_its_members(ensemble, tiny_classifier, make_context):
    checkpoint, _ = ensemble
    [candidate] = candidates_of(checkpoint, make_context("evaluate:validation"))
    one = (tiny_classifier / "model.safetensors").stat().st_size
    assert 2.9 * one < candidate.size_bytes < 3.2 * one


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["dynamic", "static"])
def test_an_ensemble_is_quantized_and_exported_as_one_graph_for_each_format(
    ensemble, recipe, tiny_dataset, tmp_path, make_context
):
    checkpoint, members = ensemble
    plugins = make_context().plugins
    steps = plugins.steps()
    few = {"calibration_rows": 32, "choice_rows": 32} if recipe == "static" else {}
    inputs = {"model": checkpoint, "data": tiny_dataset}
    quantized = make_with(steps[f"quantize:{recipe}"], tmp_path / "quantized", inputs, plugins, **few)
    linear = sum(isinstance(module, torch.nn.Linear) for module in members[0].modules())
    assert quantized.manifest.metrics["layers"] == 3 * linear
    formats = ("onnx", "torchscript", "openvino") if recipe == "static" else ("onnx", "torchscript")
    bundle = make_with(
        steps["export:bundle"],
        tmp_path / "bundle",
        {"model": quantized, "data": tiny_dataset},
        plugins,
        formats=formats,
        parity_texts=8,
        golden_texts=4,
    )
    made = {variant["name"] for variant in bundle.meta["variants"]}
    assert made == {f"{name}-{precision}" for name in formats for precision in ("fp32", "int8")}
    texts = ["the car is very good", "awful phone", "a table in the street"]
    expected = compute_logits(load_checkpoint(checkpoint.path), texts)
    for name in formats:
        predictor = Predictor.load(bundle.path, runtimes=plugins.runtimes(), variant=f"{name}-fp32", device="cpu")
        assert np.allclose(predictor.logits(texts, None, batch_size=3), expected, atol=1e-4)
    assert bundle.meta["ensemble"]["members"] == 3


def test_a_pattern_that_names_a_layer_stands_for_it_in_every_member():
    names = [f"members.{member}.{layer}" for member in range(2) for layer in ("bert.pooler.dense", "classifier")]
    assert Recipe(exclude=("classifier",)).included(names) == [name for name in names if "pooler" in name]
    assert Recipe(exclude=("members.1",)).included(names) == names[:2]
    with pytest.raises(FtxError, match="matches none of the layers"):
        Recipe(exclude=("head",)).included(names)


def test_quantization_aware_training_brings_an_ensemble_nearer_to_itself_in_fp32(
    ensemble, tiny_dataset, tmp_path, make_context
):
    checkpoint, _ = ensemble
    plugins = make_context().plugins
    inputs = {"model": checkpoint, "data": tiny_dataset}
    few = {"calibration": "min-max", "smooth": 0.0, "calibration_rows": 32, "choice_rows": 32}
    made = make_with(plugins.steps()["quantize:qat"], tmp_path / "qat", inputs, plugins, epochs=1, **few)
    vote = checkpoint.meta["ensemble"]["vote"]
    assert load_checkpoint(made.path).model.config.vote == vote
    assert made.manifest.metrics["training"]["losses"]


def test_an_ensemble_is_neither_pruned_nor_trained_further_and_the_error_says_what_to_do(
    ensemble, tiny_dataset, make_context, finetune
):
    checkpoint, _ = ensemble
    with pytest.raises(FtxError, match="an ensemble of 3 models, which cannot be pruned") as error:
        layers.run(LayersConfig(), {"model": checkpoint, "data": tiny_dataset}, make_context("prune:layers"))
    assert "ftx run train distill prune" in error.value.hints[0]
    with pytest.raises(FtxError, match="cannot be trained further"):
        finetune(model=checkpoint.path)


@pytest.mark.parametrize("seeds", [(), (1,)])
def test_a_vote_of_fewer_than_two_seeds_is_refused(seeds):
    with pytest.raises(ValueError, match="needs two seeds at least"):
        TrainConfig(combine="hard-vote", seeds=seeds)
