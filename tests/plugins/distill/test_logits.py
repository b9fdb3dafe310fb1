"""`distill:logits`: what the student is, what it learns from, and that a killed step goes on."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification

from ftx.errors import ExitCode, FtxError
from ftx.testing import tiny
from ftx_plugins import distillation
from ftx_plugins.checkpoint import LoadedCheckpoint, compute_logits, load_checkpoint, save_checkpoint
from ftx_plugins.data.splits import load_rows, load_split
from ftx_plugins.distill import teacher as teacher_module
from ftx_plugins.distill.config import DistillConfig
from ftx_plugins.distill.student import pick_layers
from ftx_plugins.distillation import NO_LABEL, KeptLogits
from ftx_plugins.ensemble import make_ensemble


def weights(context):
    return load_file(context.out / "model.safetensors")


def agreement(folder, teacher, data):
    """Share of the test rows that the checkpoint gives the teacher's label."""
    texts = load_rows(data, "test").texts
    given, wanted = load_checkpoint(folder), load_checkpoint(teacher)
    labels = [np.array(one.labels)[compute_logits(one, texts).argmax(axis=1)] for one in (given, wanted)]
    return float((labels[0] == labels[1]).mean())


def write_texts(path, rows=96, seed=11):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text, _ in tiny.sentences(rows, seed)))
    return path


@pytest.fixture
def sure_teacher(tiny_classifier, tmp_path, as_artifact):
    """The tiny classifier, four times as sure: its own probabilities hardly tell two of the labels apart."""
    folder = tmp_path / "sure"
    shutil.copytree(tiny_classifier, folder, ignore=shutil.ignore_patterns("manifest.json"))
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        model.classifier.weight.mul_(4)
        model.classifier.bias.mul_(4)
    model.save_pretrained(folder)
    return as_artifact(folder, "checkpoint", task=tiny.TASK, base="tiny")


@pytest.fixture
def noisy_dataset(tiny_dataset, tmp_path, as_artifact):
    """The tiny data set with two training labels in five wrong."""
    folder = tmp_path / "noisy"
    shutil.copytree(tiny_dataset.path, folder)
    table = load_split(tiny_dataset, "train").data.table.combine_chunks()
    labels = table["label"].to_numpy().copy()
    wrong = np.random.default_rng(0).permutation(len(labels))[: 2 * len(labels) // 5]
    labels[wrong] = (labels[wrong] + 1) % 3
    table = table.set_column(table.schema.get_field_index("label"), "label", pa.array(labels))
    with pa.OSFile(str(folder / "train.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return as_artifact(folder, "dataset", labels=tiny_dataset.meta["labels"])


@pytest.mark.parametrize(
    ("count", "there", "pick", "expected"),
    [
        (6, 12, "even", (0, 2, 4, 7, 9, 11)),
        (3, 12, "even", (0, 6, 11)),
        (3, 12, "first", (0, 1, 2)),
        (1, 12, "even", (0,)),
        (4, 4, "even", (0, 1, 2, 3)),
    ],
)
def test_layers_are_picked_at_even_distances_or_from_below(count, there, pick, expected):
    assert pick_layers(count, there, pick) == expected


def test_the_student_begins_with_layers_of_the_teacher_and_learns_to_answer_like_it(
    distill, tiny_classifier, tiny_dataset
):
    context, metrics = distill(layers=1)
    student, teacher = load_checkpoint(context.out), load_checkpoint(tiny_classifier)
    assert len(student.model.bert.encoder.layer) == 1
    assert student.labels == teacher.labels
    assert student.max_length == teacher.max_length
    assert context.meta["teacher_layers"] == [0]
    assert metrics["parameters_share"] < 1
    assert metrics["losses"][-1] < metrics["losses"][0]
    assert agreement(context.out, tiny_classifier, tiny_dataset) > 0.8


def test_half_of_the_layers_are_taken_where_no_student_is_named(distill, recorder):
    context, _ = distill(epochs=1)
    assert context.meta["teacher_layers"] == [0]
    assert "the student begins with the teacher's layers 0" in recorder.messages("log")


def test_a_student_with_another_tokenizer_learns_from_what_the_teacher_said_with_its_own(
    distill, letters_encoder, tiny_classifier, tiny_dataset
):
    context, metrics = distill(student=letters_encoder, epochs=1)
    student, teacher = load_checkpoint(context.out), load_checkpoint(tiny_classifier)
    assert student.model.config.model_type == "distilbert"
    assert student.tokenizer.tokenize("great") == ["g", "##r", "##e", "##a", "##t"]
    kept = np.load(context.work / "teacher" / "train" / "logits.npy", mmap_mode="r")
    assert isinstance(kept, np.memmap)
    assert np.allclose(kept, compute_logits(teacher, load_rows(tiny_dataset, "train").texts), atol=1e-5)
    assert metrics["validation"]["agreement"] >= 0.3


def test_a_student_on_the_hub_is_fetched_and_its_commit_is_written_down(
    distill, letters_encoder, monkeypatch, tmp_path
):
    from ftx_plugins.model import hub

    snapshot = tmp_path / "snapshots" / "0a1b2c"
    shutil.copytree(letters_encoder, snapshot)
    asked = {}

    def fetched(name, **options):
        asked.update(options, name=name)
        return str(snapshot)

    monkeypatch.setattr(hub, "snapshot_download", fetched)
    context, _ = distill(student="hub:some/encoder", student_revision="v2", epochs=1)
    assert (asked["name"], asked["revision"]) == ("some/encoder", "v2")
    assert context.meta["student"] == {"name": "some/encoder", "commit": "0a1b2c"}


def test_answers_are_put_in_the_order_of_the_students_labels(distill, tiny_classifier, tiny_dataset, tmp_path):
    student = load_checkpoint(tiny_classifier)
    order = [2, 0, 1]
    names = [student.labels[place] for place in order]
    student.model.config.id2label = dict(enumerate(names))
    student.model.config.label2id = {name: place for place, name in enumerate(names)}
    head = student.model.classifier
    with torch.no_grad():
        head.weight.copy_(head.weight[order].clone())
        head.bias.copy_(head.bias[order].clone())
    save_checkpoint(LoadedCheckpoint(student.model, student.tokenizer, tuple(names), 64), tmp_path / "student")
    context, metrics = distill(student=tmp_path / "student", epochs=1, learning_rate=1e-6)
    assert load_checkpoint(context.out).labels == tuple(names)
    assert metrics["validation"]["agreement"] == 1
    assert metrics["teacher"]["accuracy"] == metrics["validation"]["accuracy"] > 0.9


def test_a_students_head_for_other_labels_is_replaced(distill, tiny_classifier, tmp_path, recorder):
    student = load_checkpoint(tiny_classifier)
    student.model.config.id2label = {0: "spam", 1: "ham", 2: "eggs"}
    save_checkpoint(student, tmp_path / "student")
    context, _ = distill(student=tmp_path / "student", epochs=1)
    assert load_checkpoint(context.out).labels == load_checkpoint(tiny_classifier).labels
    assert "the student's head is for other labels: it gets a new one" in recorder.messages("log")


def test_a_teacher_with_other_labels_is_refused_before_anything_is_computed(
    distill, tiny_classifier, tmp_path, as_artifact, make_context
):
    teacher = load_checkpoint(tiny_classifier)
    teacher.model.config.id2label = {0: "spam", 1: "ham", 2: "eggs"}
    save_checkpoint(teacher, tmp_path / "teacher")
    context = make_context("distill:logits")
    with pytest.raises(FtxError, match=r"the teacher's labels \(spam, ham, eggs\) are not the data's") as error:
        distill(teacher=as_artifact(tmp_path / "teacher", "checkpoint"), context=context)
    assert error.value.code == ExitCode.USER
    assert error.value.hints[-1] == "or train one on this data: ftx run train distill"
    assert not list(context.work.iterdir())


def test_more_layers_than_the_teacher_has_are_refused(distill):
    with pytest.raises(FtxError, match=r"distill.layers = 3, but the teacher has 2 layers"):
        distill(layers=3)


def test_an_ensemble_teaches_one_model_what_its_members_say_together(
    distill, tiny_classifier, tiny_dataset, tmp_path, as_artifact
):
    given = load_checkpoint(tiny_classifier)
    members = [load_checkpoint(tiny_classifier).model for _ in range(2)]
    with torch.no_grad():
        members[1].classifier.weight.mul_(0.5)
    ensemble = make_ensemble(members, "soft")
    save_checkpoint(LoadedCheckpoint(ensemble, given.tokenizer, given.labels, 64), tmp_path / "teacher")
    teacher = as_artifact(tmp_path / "teacher", "checkpoint", task="text-classification")
    context, metrics = distill(teacher=teacher, layers=2, epochs=1)
    assert load_checkpoint(context.out).model.config.model_type == "bert"
    assert 0.45 < metrics["parameters_share"] < 0.55
    texts = load_rows(tiny_dataset, "train").texts
    expected = torch.stack([compute(member, given, texts).softmax(dim=-1) for member in members]).mean(dim=0)
    kept = torch.from_numpy(np.load(context.work / "teacher" / "train" / "logits.npy")).softmax(dim=-1)
    assert torch.allclose(kept, expected, atol=1e-5)


def compute(model, given, texts):
    return torch.from_numpy(compute_logits(LoadedCheckpoint(model, given.tokenizer, given.labels, 64), texts))


def test_the_weights_of_the_best_epoch_are_kept_and_training_stops_when_nothing_gets_better(
    distill, monkeypatch, recorder
):
    scores = iter([0.5, 0.9, 0.7, 0.8, 0.95])
    states = []

    def evaluate(model):
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"f1_macro": next(scores), "agreement": 0.5}

    from ftx_plugins.distill import logits

    monkeypatch.setattr(logits, "_evaluation", lambda *_: evaluate)
    context, metrics = distill(layers=1, epochs=5, early_stopping=2)
    assert metrics["best_epoch"] == 2
    assert metrics["epochs_run"] == len(states) == 4
    saved = weights(context)
    assert all(torch.equal(saved[name], states[1][name]) for name in saved)
    assert any(not torch.equal(saved[name], states[3][name]) for name in saved)
    assert any("stopped after epoch 4" in message for message in recorder.messages("log"))


def test_its_history_has_the_names_of_a_trainings_so_that_a_report_shows_both(distill):
    _, metrics = distill(layers=1, epochs=2)
    assert [row["epoch"] for row in metrics["history"]] == [1, 2]
    assert {"train_loss", "eval_loss", "accuracy", "f1_macro"} <= metrics["history"][0].keys()


@pytest.mark.parametrize("steps_taken", [9, 14])  # six steps an epoch: in the second epoch, and in the third
def test_a_killed_distillation_goes_on_in_the_middle_of_an_epoch_and_ends_with_the_same_weights(
    distill, make_context, tmp_path, monkeypatch, recorder, steps_taken
):
    whole, expected = distill(layers=1)
    step, asked = distillation._Distiller._step, []
    taken = 0

    def killed_in_time(self, rows):
        nonlocal taken
        if taken == steps_taken:
            raise KeyboardInterrupt
        taken += 1
        return step(self, rows)

    work = tmp_path / "work"
    monkeypatch.setattr(distillation, "SECONDS_BETWEEN_SAVES", -1.0)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(distillation._Distiller, "_step", killed_in_time)
        distill(layers=1, context=make_context("distill:logits", work=work))
    monkeypatch.setattr(teacher_module, "compute_logits", lambda *_: asked.append(1))
    resumed = make_context("distill:logits", work=work)
    _, metrics = distill(layers=1, context=resumed)
    place = f"distillation resumed at epoch {steps_taken // 6}, step {steps_taken % 6}"
    assert place in recorder.messages("log")
    assert not asked, "the teacher was asked again"
    assert metrics["history"] == expected["history"]
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(resumed).items())


def test_a_teacher_that_was_interrupted_is_asked_about_the_other_rows_alone(
    distill, make_context, tmp_path, monkeypatch, tiny_dataset
):
    monkeypatch.setattr(teacher_module, "CHUNK", 40)
    whole, _ = distill(layers=1, epochs=1)
    compute, calls = teacher_module.compute_logits, []

    def killed_at_the_second(*args):
        calls.append(len(args[1]))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return compute(*args)

    monkeypatch.setattr(teacher_module, "compute_logits", killed_at_the_second)
    work = tmp_path / "work"
    with pytest.raises(KeyboardInterrupt):
        distill(layers=1, epochs=1, context=make_context("distill:logits", work=work))
    resumed, _ = distill(layers=1, epochs=1, context=make_context("distill:logits", work=work))
    assert calls == [40, 40, 40, 16, 40, 8]  # 96 training and 48 validation rows
    first, second = (np.load(context.work / "teacher" / "train" / "logits.npy") for context in (whole, resumed))
    assert np.array_equal(first, second)


def test_the_same_seed_gives_the_same_student_and_another_seed_another(distill, letters_encoder):
    one, same, other = (weights(distill(student=letters_encoder, epochs=1, seed=seed)[0]) for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_unlabelled_texts_are_learned_from_but_not_those_that_the_student_is_measured_by(
    distill, tiny_dataset, tmp_path, recorder, tiny_classifier
):
    path = write_texts(tmp_path / "more.jsonl")
    measured = load_rows(tiny_dataset, "test").texts
    forms = measured[0], measured[1].upper().replace(" ", "  ")
    texts = path.read_text() + "".join(json.dumps({"text": form}) + "\n" for form in forms)
    path.write_text(texts + '{"text": "  "}\n{"text": null}\n')
    context, metrics = distill(layers=1, unlabelled=path)
    assert metrics["rows"] == 96
    assert metrics["unlabelled_rows"] == 96
    assert any(message.startswith("2 unlabelled texts are rows of") for message in recorder.messages("log"))
    kept = np.load(context.work / "teacher" / "train" / "logits.npy")
    teacher = load_checkpoint(tiny_classifier)
    expected = compute_logits(teacher, [text for text, _ in tiny.sentences(96, 11)])
    assert np.allclose(kept[96:], expected, atol=1e-5)
    labels = np.load(context.work / "tokens" / "train" / "labels.npy")
    assert set(labels[:96]) == {0, 1, 2}
    assert set(labels[96:]) == {NO_LABEL}


def test_a_row_without_a_label_adds_to_the_loss_what_the_teacher_says_alone():
    class Reached:
        logits = torch.tensor([[1.0, 0.0], [0.5, 2.0]])

    answer = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    seen = torch.ones(2, 3, dtype=torch.bool)
    labels = torch.tensor([0, NO_LABEL])
    labels_alone = KeptLogits(answer.numpy(), temperature=2.0, weight=0.0)
    loss = labels_alone.loss(Reached, answer, labels, seen)
    assert loss == pytest.approx(float(cross_entropy(Reached.logits[:1], labels[:1])) / 2)
    teacher_alone = KeptLogits(answer.numpy(), temperature=2.0, weight=1.0)
    soft = [(logits / 2).softmax(dim=1) for logits in (answer, Reached.logits)]
    expected = 4 * (soft[0] * (soft[0].log() - soft[1].log())).sum(dim=1).mean()
    assert teacher_alone.loss(Reached, answer, labels, seen) == pytest.approx(float(expected))


def test_a_batch_of_unlabelled_rows_alone_has_a_finite_loss():
    class Reached:
        logits = torch.zeros(2, 2)

    lesson = KeptLogits(np.ones((2, 2), dtype=np.float32), temperature=2.0, weight=0.5)
    loss = lesson.loss(Reached, torch.ones(2, 2), torch.full((2,), NO_LABEL), torch.ones(2, 3, dtype=torch.bool))
    assert loss.isfinite()


def test_unlabelled_single_texts_for_data_of_pairs_are_refused(distill, tmp_path, tiny_dataset, as_artifact):
    folder = tmp_path / "pairs"
    folder.mkdir()
    table = pa.table({"text": ["a"] * 6, "text_pair": ["b"] * 6, "label": [0, 1, 2] * 2, "row": list(range(6))})
    for split in ("train", "validation", "test"):
        with pa.OSFile(str(folder / f"{split}.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    data = as_artifact(folder, "dataset", labels=tiny_dataset.meta["labels"])
    with pytest.raises(FtxError, match="the data holds pairs of texts") as error:
        distill(data=data, unlabelled=write_texts(tmp_path / "more.jsonl"))
    assert error.value.hints[0] == "set distill.text_pair"


def test_a_student_that_was_taught_agrees_more_with_the_teacher_than_one_that_saw_the_labels_alone(
    distill, tiny_encoder, sure_teacher, tiny_dataset, noisy_dataset
):
    """The same texts, steps and first weights, and two labels in five wrong: the teacher's answers make the odds."""
    settings = {"student": tiny_encoder, "epochs": 24, "learning_rate": 3e-3, "early_stopping": 0, "metric": "loss"}
    alone, _ = distill(sure_teacher, noisy_dataset, **settings, teacher_weight=0.0)
    taught, _ = distill(sure_teacher, noisy_dataset, **settings, teacher_weight=1.0)
    of_labels, of_teacher = (agreement(one.out, sure_teacher.path, tiny_dataset) for one in (alone, taught))
    assert of_teacher >= of_labels + 0.1
    assert of_teacher > 0.8


def test_settings_that_leave_nothing_to_learn_or_two_students_are_refused(tiny_encoder, tmp_path):
    with pytest.raises(ValueError, match="set student or layers, not both"):
        DistillConfig(student=str(tiny_encoder), layers=1)
    with pytest.raises(ValueError, match="leaves the labels alone to learn from"):
        DistillConfig(unlabelled=str(tmp_path), teacher_weight=0.0)
