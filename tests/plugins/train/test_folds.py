"""Cross-validation: each fold's figures are those of a model that has not seen it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from ftx import FtxError
from ftx.errors import ExitCode
from ftx_plugins.train import folds as folds_module
from ftx_plugins.train.folds import summarize

LABELS = ["negative", "neutral", "positive"]
FOLDS = 3


def weights(context):
    return load_file(context.out / "model.safetensors")


@pytest.fixture
def folded(data, as_artifact, tmp_path):
    """The data set `data` with a column of folds."""
    folder = tmp_path / "folded"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        with pa.memory_map(str(data.path / f"{split}.arrow")) as source:
            table = pa.ipc.open_stream(source).read_all()
            if split == "train":
                numbers = pa.array(np.arange(len(table)) % FOLDS, type=pa.int64())
                table = table.append_column("fold", numbers)
            with pa.OSFile(str(folder / f"{split}.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
                out.write_table(table)
    return as_artifact(folder, "dataset", labels=LABELS, folds=FOLDS)


@pytest.fixture
def trainings(monkeypatch):
    """(rows, validation rows) as lists of token ids, of each fold that is trained."""
    seen = []
    train = folds_module.train

    def watched(job, model, frozen, **more):
        seen.append(
            [[tuple(split[row]["input_ids"]) for row in range(len(split))] for split in (job.rows, job.validation)]
        )
        return train(job, model, frozen, **more)

    monkeypatch.setattr(folds_module, "train", watched)
    return seen


def test_each_row_is_held_out_once_and_trains_all_other_models(finetune, folded, trainings):
    _, metrics = finetune(rows=folded, epochs=1)
    assert len(trainings) == FOLDS
    held = [row for _, validation in trainings for row in validation]
    assert len(held) == len(set(held)) == 120
    for rows, validation in trainings:
        assert not set(rows) & set(validation)
        assert set(rows) | set(validation) == set(held)
    assert [fold["rows"] for fold in metrics["folds"]["by_fold"]] == [40, 40, 40]


def test_a_reworded_row_trains_with_its_source_and_judges_no_fold(finetune, folded, trainings):
    finetune(rows=folded, epochs=1)
    plain = list(trainings)
    trainings.clear()
    with pa.OSFile(str(folded.path / "train.arrow")) as source:
        table = pa.ipc.open_stream(source).read_all()
    added = table.slice(0, 30)
    reworded = pa.array([" ".join(reversed(text.split())) for text in added["text"].to_pylist()])
    added = added.set_column(0, "text", reworded).append_column("origin", pa.array(["noise"] * 30))
    table = pa.concat_tables([table.append_column("origin", pa.array([""] * len(table))), added])
    with pa.OSFile(str(folded.path / "train.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
        out.write_table(table)
    _, metrics = finetune(rows=folded, epochs=1)
    for (rows, validation), (own_rows, own) in zip(trainings, plain, strict=True):
        assert validation == own
        assert rows[: len(own_rows)] == own_rows
        assert len(rows) == len(own_rows) + 20
    assert [fold["rows"] for fold in metrics["folds"]["by_fold"]] == [40, 40, 40]


def test_the_figures_of_a_fold_are_those_of_its_own_model(finetune, folded, make_data, make_sentences, monkeypatch):
    _, metrics = finetune(rows=folded)
    sentences = make_sentences(120)
    second = make_data(
        [row for place, row in enumerate(sentences) if place % FOLDS != 1],
        [row for place, row in enumerate(sentences) if place % FOLDS == 1],
        LABELS,
    )
    _, alone = finetune(rows=second)
    own = metrics["folds"]["by_fold"][1]
    assert own["loss"] == pytest.approx(alone["validation"]["loss"], abs=1e-6)
    assert own["accuracy"] == alone["validation"]["accuracy"]
    assert own["best_epoch"] == alone["best_epoch"]


def test_the_model_handed_on_is_the_one_without_cross_validation(finetune, folded, data):
    (crossed, metrics), (plain, expected) = finetune(rows=folded), finetune(rows=data)
    assert all(torch.equal(value, weights(plain)[name]) for name, value in weights(crossed).items())
    assert metrics["validation"] == expected["validation"]
    assert "folds" not in expected


def test_the_mean_and_the_deviation_over_folds_are_reported(finetune, folded, recorder):
    _, metrics = finetune(rows=folded, epochs=1)
    folds = metrics["folds"]
    assert folds["count"] == FOLDS
    for name in ("accuracy", "f1_macro", "loss"):
        values = [fold[name] for fold in folds["by_fold"]]
        assert folds["mean"][name] == pytest.approx(np.mean(values))
        assert folds["std"][name] == pytest.approx(np.sqrt(np.sum((values - np.mean(values)) ** 2) / (FOLDS - 1)))
    assert any("3 folds, mean ± standard deviation: accuracy" in message for message in recorder.messages("log"))


def test_the_deviation_is_that_of_a_sample():
    figures = [{"rows": 5, "best_epoch": 1, "validation": {"accuracy": value}} for value in (0.5, 0.7)]
    summary = summarize(figures)
    assert summary["mean"]["accuracy"] == pytest.approx(0.6)
    assert summary["std"]["accuracy"] == pytest.approx(0.1 * np.sqrt(2))


def test_a_killed_run_does_not_train_finished_folds_again(finetune, folded, trainings, make_context, monkeypatch):
    _, whole = finetune(rows=folded, epochs=1)
    trainings.clear()
    context = make_context("train:finetune")
    train_fold = folds_module._train_fold

    class Killed(BaseException):
        pass

    def killed_at_the_third(*given):
        if len(trainings) == 2:
            raise Killed
        return train_fold(*given)

    monkeypatch.setattr(folds_module, "_train_fold", killed_at_the_third)
    with pytest.raises(Killed):
        finetune(rows=folded, epochs=1, context=context)
    assert not list(context.work.glob("trainer-fold-[01]"))
    monkeypatch.setattr(folds_module, "_train_fold", train_fold)
    _, metrics = finetune(rows=folded, epochs=1, context=context)
    assert len(trainings) == 3
    assert metrics["folds"] == whole["folds"]


def test_what_frozen_layers_give_is_computed_once_for_all_folds(finetune, folded):
    (_, reused), (_, plain) = (finetune(rows=folded, unfreeze_last=1, reuse_frozen=reuse) for reuse in (True, False))
    for own, expected in zip(reused["folds"]["by_fold"], plain["folds"]["by_fold"], strict=True):
        assert own["loss"] == pytest.approx(expected["loss"], abs=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"average": "last-steps", "keep_average": "always"},
        {"lora_rank": 4},
        {"class_weights": "balanced", "sampler": "balanced"},
    ],
)
def test_folds_are_trained_as_the_settings_say(finetune, folded, settings):
    _, metrics = finetune(rows=folded, epochs=1, **settings)
    _, plain = finetune(rows=folded, epochs=1)
    pairs = zip(metrics["folds"]["by_fold"], plain["folds"]["by_fold"], strict=True)
    assert all(own["loss"] != expected["loss"] for own, expected in pairs)


def test_folds_with_several_seeds_are_refused_before_anything_is_trained(finetune, folded, trainings):
    with pytest.raises(FtxError, match=r"data\.folds with train\.seeds") as caught:
        finetune(rows=folded, seeds=(1, 2))
    assert caught.value.code == ExitCode.USER
    assert "--set data.folds=0" in caught.value.hints[-1]
    assert not trainings
