"""What a plan makes of `distill`: who teaches, and what everything is compared with."""

from __future__ import annotations

import json

import pytest

from ftx.config import load_config
from ftx.errors import PlanError
from ftx.planner import make_plan
from ftx.plugins import PluginManager


@pytest.fixture(scope="module")
def plugins():
    return PluginManager.load(third_party=False)


@pytest.fixture
def plan(tmp_path, plugins, tiny_encoder, sentences_csv):
    """`plan(*words, model=tiny_encoder, **settings of [distill])`."""

    def make(*words, model=tiny_encoder, **settings):
        lines = [f"{name} = {json.dumps(str(value))}" for name, value in settings.items()]
        toml = f'[model]\nname = "{model}"\n[data]\ntrain = "{sentences_csv}"\n[distill]\n' + "\n".join(lines)
        (tmp_path / "ftx.toml").write_text(toml)
        return make_plan(words, load_config(tmp_path / "ftx.toml"), plugins)

    return make


def inputs(plan, identity):
    return next(planned.inputs for planned in plan.steps if planned.id == identity)


def problems(plan, *words, **settings):
    with pytest.raises(PlanError) as caught:
        plan(*words, **settings)
    return str(caught.value)


def test_what_was_trained_teaches_and_is_what_the_student_is_compared_with(plan):
    made = plan("train", "distill", "prune", "quantize", "export")
    assert inputs(made, "distill:logits")["model"] == "train:finetune"
    assert inputs(made, "evaluate:validation#2") == {
        "model": "distill:logits",
        "data": "data:clean",
        "reference": "train:finetune",
        "baseline": "evaluate:validation",
    }
    assert inputs(made, "prune:structured")["model"] == "distill:logits"


def test_a_named_teacher_is_the_input_and_the_reference_and_is_evaluated_first(plan, tiny_classifier):
    made = plan("distill", "export", teacher=tiny_classifier)
    assert [planned.id for planned in made.steps][:4] == [
        "data:clean",
        "evaluate:validation",
        "distill:logits",
        "evaluate:validation#2",
    ]
    assert inputs(made, "evaluate:validation")["model"] == "distill.teacher"
    assert inputs(made, "distill:logits")["model"] == "distill.teacher"
    assert inputs(made, "evaluate:validation#2")["reference"] == "distill.teacher"
    assert made.given["distill.teacher"] == tiny_classifier.resolve()


def test_an_artifact_is_named_by_the_beginning_of_its_digest(plan, tmp_path, tiny_checkpoint):
    import shutil

    shutil.copytree(tiny_checkpoint.path, tmp_path / ".ftx" / "objects" / tiny_checkpoint.digest)
    made = plan("distill", teacher=tiny_checkpoint.digest[:10])
    assert made.given["distill.teacher"].digest == tiny_checkpoint.digest
    assert "there is no artifact 0123456789" in problems(plan, "distill", teacher="0123456789")


def test_a_teacher_without_a_head_is_refused_whether_it_is_named_or_given(plan, tiny_encoder):
    assert "has no trained head" in problems(plan, "distill", teacher=tiny_encoder)
    message = problems(plan, "distill", "export")
    assert "the model has no trained head yet" in message
    assert "ftx run train distill export" in message


def test_a_named_teacher_behind_a_training_is_refused_since_nothing_would_come_of_the_training(plan, tiny_classifier):
    message = problems(plan, "train", "distill", teacher=tiny_classifier)
    assert "distill.teacher is set, so that nothing would come of what train:finetune makes" in message


def test_a_data_set_cannot_teach(plan, tiny_dataset):
    assert "is a dataset" in problems(plan, "distill", teacher=tiny_dataset.path)


def test_wrong_students_and_files_are_reported_together(plan, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "more.csv").write_text("sentence\nhello\n")
    message = problems(plan, "train", "distill", student=tmp_path / "empty", unlabelled=tmp_path / "more.csv")
    assert "is no model folder" in message
    assert "more.csv has no column 'text'" in message
    assert 'distill.text="sentence"' in message
