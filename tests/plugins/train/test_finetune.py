from __future__ import annotations

import re

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from ftx import FtxError
from ftx.errors import ExitCode
from ftx_plugins.checkpoint import load_checkpoint
from ftx_plugins.train import trainer
from ftx_plugins.train.losses import Objective

LABELS = ["negative", "neutral", "positive"]


def weights(folder):
    return load_file(folder / "model.safetensors")


def test_it_learns_and_leaves_a_stock_checkpoint_and_nothing_else(finetune):
    context, metrics = finetune(epochs=12, learning_rate=5e-3, dropout=0.0)
    assert metrics["validation"]["accuracy"] > 0.8
    assert set(metrics["validation"]) >= {"accuracy", "f1_macro", "f1_micro", "loss", "per_class"}
    names = {path.name for path in context.out.iterdir()}
    assert names <= {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"}
    stock = AutoModelForSequenceClassification.from_pretrained(context.out)
    assert stock.config.id2label == dict(enumerate(LABELS))
    loaded = load_checkpoint(context.out)
    assert loaded.labels == tuple(LABELS)
    assert loaded.max_length == 32


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(finetune):
    first, second, other = (weights(finetune(seed=seed, epochs=1)[0].out) for seed in (3, 3, 4))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_progress_tells_steps_loss_and_figures(finetune, recorder):
    finetune()
    steps = [values for name, values in recorder.events if name == "progress" and values["unit"] == "steps"]
    assert steps[-1]["done"] == steps[-1]["total"] == 16
    assert {"loss", "epoch", "accuracy"} <= set(steps[-1]["figures"])


def test_nothing_is_printed(finetune, capfd):
    finetune(epochs=1)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_the_best_epoch_is_kept_and_training_stops_when_it_no_longer_improves(finetune, recorder):
    # A learning rate this high breaks the model in the end: some epoch before the last is the best.
    _, metrics = finetune(epochs=12, learning_rate=0.05, schedule="constant", early_stopping=2, metric="accuracy")
    history = [epoch["accuracy"] for epoch in metrics["history"]]
    assert metrics["validation"]["accuracy"] == pytest.approx(max(history))
    assert metrics["best_epoch"] == history.index(max(history)) + 1
    assert metrics["epochs_run"] == min(12, metrics["best_epoch"] + 2)
    if metrics["epochs_run"] < 12:
        assert any("stopped after epoch" in message for message in recorder.messages("log"))


@pytest.mark.parametrize("count", [0, 1])
def test_frozen_layers_do_not_move_and_the_others_do(finetune, tiny_encoder, count):
    before = weights(tiny_encoder)
    after = weights(finetune(epochs=1, unfreeze_last=count)[0].out)
    moved = {
        name for name in before if f"bert.{name}" in after and not torch.equal(before[name], after[f"bert.{name}"])
    }
    layers = {int(match.group(1)) for name in moved if (match := re.search(r"layer\.(\d)", name))}
    assert layers == ({1} if count else set())
    assert not any(name.startswith("embeddings") for name in moved)


def test_more_layers_than_there_are_is_an_error_with_the_count(finetune):
    with pytest.raises(FtxError, match="the encoder has 2 layers"):
        finetune(unfreeze_last=3)


def test_an_unusual_learning_rate_is_warned_about(finetune, recorder):
    finetune(epochs=1, learning_rate=0.01)
    assert any("outside 1e-06 to 0.001" in message for message in recorder.messages("warning"))


def test_cut_rows_are_counted_and_warned_about(finetune, recorder):
    _, metrics = finetune(epochs=1, max_length=8)
    assert metrics["truncated_rows"] > 0
    assert any("max_length = 8" in message for message in recorder.messages("warning"))


def test_accumulation_takes_as_many_steps_as_larger_batches(finetune, recorder):
    finetune(epochs=1, batch_size=8, gradient_accumulation=2)
    steps = [values for name, values in recorder.events if name == "progress" and values["unit"] == "steps"]
    assert steps[-1]["total"] == 8


def test_pairs_of_texts_are_trained_on_together(finetune, make_data, make_sentences):
    # Only the second text tells the label.
    told = {"positive": "good", "negative": "bad", "neutral": "table"}
    pairs = [(f"the car n{row}", told[label], label) for row, (_, label) in enumerate(make_sentences(90))]
    rows = make_data(pairs, pairs[:30], LABELS)
    _, metrics = finetune(epochs=12, rows=rows, learning_rate=5e-3, dropout=0.0)
    assert metrics["validation"]["accuracy"] > 0.9


def test_a_loss_that_is_no_number_is_an_error_and_not_a_model(finetune, monkeypatch):
    on_evaluate = trainer.Reporter.on_evaluate

    def broken(self, args, state, control, metrics, **more):
        on_evaluate(self, args, state, control, {**metrics, "eval_loss": float("nan")}, **more)

    monkeypatch.setattr(trainer.Reporter, "on_evaluate", broken)
    with pytest.raises(FtxError, match="diverged") as caught:
        finetune(epochs=1)
    assert caught.value.code == ExitCode.STEP_FAILED


def test_a_head_in_another_order_learns_its_own_labels(finetune, tiny_classifier, recorder):
    # The head says positive, negative, neutral; the data negative, neutral, positive. Mixed up, it would unlearn.
    context, metrics = finetune(tiny_classifier, epochs=1, learning_rate=1e-5)
    assert context.meta["labels"] == ["positive", "negative", "neutral"]
    assert metrics["validation"]["accuracy"] > 0.8


def test_the_manifest_names_labels_task_length_and_the_base(finetune, tiny_encoder):
    context, _ = finetune(epochs=1)
    assert context.meta["labels"] == LABELS
    assert context.meta["task"] == "text-classification"
    assert context.meta["max_length"] == 32
    assert re.fullmatch(r"[0-9a-f]{64}", context.meta["base"])


def test_the_other_optimizer_and_schedules_train_too(finetune):
    _, metrics = finetune(optimizer="adafactor", schedule="cosine")
    rates = [epoch["learning_rate"] for epoch in metrics["history"]]
    assert rates[0] > rates[1]
    assert metrics["epochs_run"] == 2


def test_lower_layers_move_less_with_layer_decay(finetune, tiny_encoder):
    before = weights(tiny_encoder)

    def moved(part, **settings):
        after = weights(finetune(epochs=1, **settings)[0].out)
        names = [name for name in before if name.startswith(part)]
        return sum(float((after[f"bert.{name}"] - before[name]).abs().sum()) for name in names)

    assert moved("embeddings", layer_decay=0.1) < 0.2 * moved("embeddings")


def test_gradient_checkpointing_gives_the_same_weights(finetune):
    plain, saving = (weights(finetune(epochs=1, dropout=0.0, gradient_checkpointing=on)[0].out) for on in (False, True))
    assert all(torch.allclose(plain[name], saving[name], atol=1e-6) for name in plain)


def test_r_drop_takes_no_more_steps_and_changes_what_is_learnt(finetune, recorder):
    plain, dropped = (weights(finetune(epochs=1, r_drop=r_drop)[0].out) for r_drop in (0.0, 5.0))
    assert any(not torch.equal(plain[name], dropped[name]) for name in plain)
    steps = [values for name, values in recorder.events if name == "progress" and values["unit"] == "steps"]
    assert {values["total"] for values in steps} == {8}


def test_r_drop_lowers_the_divergence_between_two_passes_that_it_trains_on(tiny_classifier):
    loaded = load_checkpoint(tiny_classifier)
    batch = loaded.tokenizer(["the car is good", "a bad bad table", "the table"] * 2, padding=True, return_tensors="pt")
    labels = torch.tensor([0, 1, 2] * 2)
    for module in loaded.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    loaded.model.train()

    def apart():
        torch.manual_seed(0)
        with torch.no_grad():
            passes = torch.stack([loaded.model(**batch).logits.softmax(dim=1) for _ in range(50)])
        return float(passes.std(dim=0).mean())

    before = apart()
    objective = Objective(r_drop=20.0)
    optimizer = torch.optim.Adam(loaded.model.parameters(), lr=1e-3)
    for _ in range(60):
        logits = loaded.model(**{name: torch.cat([values, values]) for name, values in batch.items()}).logits
        (objective.total_of_pair(*logits.chunk(2), labels) / len(labels)).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert apart() < 0.5 * before


def test_each_epoch_shows_training_and_validation_loss(finetune, recorder):
    finetune()
    lines = [message for message in recorder.messages("log") if message.startswith("epoch ")]
    assert len(lines) == 2
    assert all("training loss" in line and "validation loss" in line for line in lines)
