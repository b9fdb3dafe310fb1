"""LoRA: adapters train instead of the encoder's weights, and are merged into them."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from ftx import FtxError, ModelSettings
from ftx.errors import ExitCode
from ftx_plugins.checkpoint import load_checkpoint
from ftx_plugins.train import check as check_module
from ftx_plugins.train import trainer
from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.head import load_classifier
from ftx_plugins.train.lora import add_adapters, load_merged

LORA = {"lora_rank": 4, "learning_rate": 3e-3}
LABELS = ["negative", "neutral", "positive"]
TARGETED = ("query.weight", "key.weight", "value.weight", "dense.weight")


def weights(context):
    return load_file(context.out / "model.safetensors")


def moved(before, after):
    """Names of the encoder's weights that are not what they were."""
    return {name for name, value in before.items() if not torch.equal(value, after[f"bert.{name}"])}


@pytest.fixture
def before(tiny_encoder):
    return load_file(tiny_encoder / "model.safetensors")


def test_the_checkpoint_is_an_ordinary_one_in_which_only_the_linear_layers_have_moved(finetune, before):
    context, _ = finetune(**LORA)
    plain, _ = finetune(epochs=1)
    assert weights(context).keys() == weights(plain).keys()
    assert load_checkpoint(context.out).labels == tuple(LABELS)
    encoder = {name for name in moved(before, weights(context)) if not name.startswith("pooler")}
    assert encoder == {name for name in before if name.startswith("encoder") and name.endswith(TARGETED)}


def test_what_a_weight_has_moved_by_is_of_the_adapters_rank(finetune, before):
    after = weights(finetune(**LORA)[0])
    for name in ("encoder.layer.0.attention.self.query.weight", "encoder.layer.1.output.dense.weight"):
        assert torch.linalg.matrix_rank((after[f"bert.{name}"] - before[name]).double(), rtol=1e-4) == 4


def test_the_head_trains_in_full(finetune):
    (trained, _), (start, _) = finetune(**LORA), finetune(learning_rate=1e-12)
    for name in ("classifier.weight", "classifier.bias", "bert.pooler.dense.weight"):
        assert not torch.allclose(weights(trained)[name], weights(start)[name], atol=1e-4)


def test_merged_adapters_give_the_logits_that_they_gave_beside_the_weights(tiny_encoder, tmp_path):
    def adapted():
        torch.manual_seed(0)
        model, _ = load_classifier(tiny_encoder, LABELS, dropout=0.1, new_head=False)
        adapters = add_adapters(model, TrainConfig(lora_rank=4))
        model.eval()
        return adapters

    trained = adapted()
    with torch.no_grad():
        for name, value in trained.model.named_parameters():
            if "lora_B" in name:  # they start at zero, where merging would change nothing
                value.normal_(std=0.3)
    batch = {
        "input_ids": torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]]),
        "attention_mask": torch.tensor([[1] * 4, [1, 1, 1, 0]]),
    }
    with torch.inference_mode():
        unmerged, start = trained.model(**batch).logits, adapted().model(**batch).logits
        trained.model.save_pretrained(tmp_path)
        merged = load_merged(adapted(), tmp_path).eval()(**batch).logits
    assert (unmerged - start).abs().max() > 1e-2
    assert torch.allclose(merged, unmerged, atol=1e-5)


def test_the_figures_of_training_are_those_of_the_merged_checkpoint(finetune, data):
    from ftx_plugins.checkpoint import compute_logits
    from ftx_plugins.data.splits import load_split
    from ftx_plugins.metrics.classification import accuracy

    context, metrics = finetune(**LORA)
    split = load_split(data, "validation")
    logits = compute_logits(load_checkpoint(context.out), split["text"][:])
    labels = split.with_format("numpy")["label"][:]
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.as_tensor(labels))
    assert accuracy(labels, logits, LABELS) == metrics["validation"]["accuracy"]
    assert float(loss) == pytest.approx(metrics["validation"]["loss"], abs=1e-5)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (("query", "value"), {"attention.self.query.weight", "attention.self.value.weight"}),
        (("intermediate.dense",), {"intermediate.dense.weight"}),
        (("attention.output.dense",), {"attention.output.dense.weight"}),
    ],
)
def test_targets_are_the_ends_of_names_within_a_layer(finetune, before, targets, expected):
    after = weights(finetune(**LORA, epochs=1, lora_targets=targets)[0])
    encoder = {name for name in moved(before, after) if name.startswith("encoder")}
    assert encoder == {f"encoder.layer.{layer}.{name}" for layer in (0, 1) for name in expected}


def test_targets_that_match_nothing_are_an_error_that_names_what_there_is(finetune):
    with pytest.raises(
        FtxError, match=r"no linear layer is called q_proj, uery; there are .*attention\.self\.query"
    ) as caught:
        finetune(**LORA, lora_targets=("q_proj", "key", "uery"))
    assert caught.value.code == ExitCode.USER
    assert "train.lora_targets" in caught.value.hints[-1]


@pytest.mark.parametrize("reuse", [True, False])
def test_with_unfreeze_last_only_the_last_layers_have_adapters(finetune, before, reuse):
    after = weights(finetune(**LORA, unfreeze_last=1, reuse_frozen=reuse)[0])
    encoder = {name for name in moved(before, after) if name.startswith("encoder")}
    assert encoder == {name for name in before if name.startswith("encoder.layer.1.") and name.endswith(TARGETED)}


def test_what_frozen_layers_give_is_reused_beside_adapters_to_the_same_effect(finetune):
    reused, plain = (weights(finetune(**LORA, unfreeze_last=1, reuse_frozen=reuse)[0]) for reuse in (True, False))
    assert all(torch.allclose(value, plain[name], atol=1e-5) for name, value in reused.items())


def test_adapters_of_lower_layers_move_less_with_layer_decay(finetune, before):
    def ratio(**settings):
        after = weights(finetune(**LORA, epochs=1, **settings)[0])
        name = "encoder.layer.{}.attention.self.value.weight"
        low, high = ((after[f"bert.{name.format(i)}"] - before[name.format(i)]).norm() for i in (0, 1))
        return float(low / high)

    assert ratio(layer_decay=0.1) < 0.4 * ratio()


def test_gradient_checkpointing_changes_nothing(finetune):
    settings = {**LORA, "epochs": 1, "dropout": 0.0, "lora_dropout": 0.0}
    plain, saving = (weights(finetune(**settings, gradient_checkpointing=on)[0]) for on in (False, True))
    assert all(torch.allclose(value, saving[name], atol=1e-6) for name, value in plain.items())


def test_seeds_are_merged_before_they_are_averaged(finetune):
    souped = weights(finetune(**LORA, seeds=(1, 2), combine="uniform")[0])
    one, other = (weights(finetune(**LORA, seeds=(seed,))[0]) for seed in (1, 2))
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(one[name], other[name])
    assert all(torch.allclose(value, (one[key] + other[key]) / 2, atol=1e-6) for key, value in souped.items())


def test_a_killed_training_ends_with_the_same_weights(finetune, make_context, monkeypatch):
    whole = weights(finetune(**LORA)[0])

    class Killed(BaseException):
        pass

    on_step_end = trainer.Reporter.on_step_end

    def killed_in_the_second_epoch(self, args, state, control, **more):
        if state.global_step == 12:
            raise Killed
        on_step_end(self, args, state, control, **more)

    context = make_context("train:finetune")
    monkeypatch.setattr(trainer.Reporter, "on_step_end", killed_in_the_second_epoch)
    with pytest.raises(Killed):
        finetune(**LORA, context=context)
    monkeypatch.setattr(trainer.Reporter, "on_step_end", on_step_end)
    finetune(**LORA, context=context)
    assert all(torch.equal(value, whole[name]) for name, value in weights(context).items())


def test_a_learning_rate_for_all_weights_is_warned_about(finetune, recorder):
    finetune(epochs=1, lora_rank=4, learning_rate=2e-5)
    assert any("low for LoRA" in message for message in recorder.messages("warning"))


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"lora_targets": ("query",)}, ["train.lora_targets"]),
        ({"lora_rank": 4, "unfreeze_last": 0}, ["train.lora_rank"]),
        ({"lora_rank": 4, "unfreeze_last": 0, "average": "last-steps"}, ["train.lora_rank", "train.average"]),
        ({"lora_rank": 4, "lora_targets": ("query",), "unfreeze_last": 1}, []),
    ],
)
def test_the_plan_reports_settings_that_make_no_sense_together(settings, where):
    problems = list(check_module.check(TrainConfig(**settings), ModelSettings("tiny")))
    assert [problem.where for problem in problems] == where
    assert all(problem.hints for problem in problems)


def test_the_plan_says_where_peft_is_missing(monkeypatch):
    monkeypatch.setattr(check_module, "find_spec", lambda name: None)
    [problem] = check_module.check(TrainConfig(lora_rank=4), ModelSettings("tiny"))
    assert problem.where == "train.lora_rank"
    assert "pip install" in problem.hints[-1]
    assert not list(check_module.check(TrainConfig(), ModelSettings("tiny")))
