from __future__ import annotations

import json

import pytest

from ftx.artifacts import Bundle, Checkpoint
from ftx.errors import PlanError
from ftx.planner import make_plan
from ftx.tasks import task_of_head

HEAD = '{"architectures": ["BertForSequenceClassification"], "model_type": "bert"}'


def ids(plan):
    return [planned.id for planned in plan.steps]


def inputs(plan, identity):
    return next(planned.inputs for planned in plan.steps if planned.id == identity)


def problems(words, config, plugins):
    with pytest.raises(PlanError) as caught:
        make_plan(words, config, plugins)
    return str(caught.value)


def test_data_and_evaluations_are_added_where_they_are_needed(project, words_plugin):
    plan = make_plan(["train", "quantize", "export"], project(), words_plugin)
    assert ids(plan) == [
        "data:words",
        "train:words",
        "evaluate:validation",
        "quantize:words",
        "evaluate:validation#2",
        "export:words",
        "evaluate:validation#3",
        "evaluate:test",
    ]
    assert [planned.added for planned in plan.steps] == [True, False, True, False, True, False, True, True]


SERVE_MODULE = """
from ftx import Bundle, Step, StepConfig, hookimpl

class ServeConfig(StepConfig):
    pass

@hookimpl
def ftx_serve():
    yield Step("words", "serve", "", "x:y", ServeConfig, {"model": Bundle}, None, default=True, cached=False)
"""


def test_the_test_split_is_reported_before_the_server_starts(project, words_plugin, tmp_path):
    (tmp_path / "site" / "serving_plugin.py").write_text(SERVE_MODULE, encoding="utf-8")
    words_plugin.add("serving", "serving_plugin", "words-plugin", "1.0")
    assert not words_plugin.broken()
    plan = make_plan(["train", "export", "serve"], project(), words_plugin)
    assert ids(plan)[-4:] == ["export:words", "evaluate:validation#2", "evaluate:test", "serve:words"]
    between = make_plan(["train", "export", "serve", "quantize"], project(), words_plugin)
    assert ids(between)[-1] == "evaluate:test"


def test_each_input_is_wired_to_the_newest_artifact_of_its_kind(project, words_plugin):
    plan = make_plan(["train", "quantize", "export"], project(), words_plugin)
    assert inputs(plan, "train:words") == {"model": "source", "data": "data:words"}
    assert inputs(plan, "quantize:words") == {"model": "train:words"}
    assert inputs(plan, "export:words") == {"model": "quantize:words"}
    assert inputs(plan, "evaluate:validation#3") == {
        "model": "export:words",
        "data": "data:words",
        "reference": "train:words",
        "baseline": "evaluate:validation",
    }


def test_the_given_model_is_the_reference_where_nothing_trains(project, words_plugin, model_folder):
    (model_folder / "config.json").write_text(HEAD)
    plan = make_plan(["quantize"], project(), words_plugin)
    assert ids(plan) == [
        "data:words",
        "evaluate:validation",
        "quantize:words",
        "evaluate:validation#2",
        "evaluate:test",
    ]
    assert inputs(plan, "evaluate:validation") == {"model": "source", "data": "data:words", "reference": "source"}
    assert inputs(plan, "evaluate:validation#2")["reference"] == "source"


def test_quantize_behind_export_works_on_the_bundle(project, words_plugin):
    plan = make_plan(["train", "export", "quantize"], project(), words_plugin)
    assert inputs(plan, "quantize:words") == {"model": "export:words"}
    assert next(planned.gives for planned in plan.steps if planned.id == "quantize:words") is Bundle


def test_consecutive_exports_of_one_model_extend_one_bundle(project, words_plugin):
    plan = make_plan(["train", "export:words", "export:letters"], project(), words_plugin)
    assert inputs(plan, "export:letters") == {"model": "train:words", "bundle": "export:words"}


def test_an_export_of_another_model_starts_a_bundle_of_its_own(project, words_plugin):
    plan = make_plan(["train", "export:words", "prune", "export:letters"], project(), words_plugin)
    assert inputs(plan, "export:letters") == {"model": "prune:words"}


def test_an_evaluation_that_was_asked_for_is_not_added_again(project, words_plugin):
    plan = make_plan(["train", "evaluate"], project(), words_plugin)
    assert ids(plan) == ["data:words", "train:words", "evaluate:validation", "evaluate:test"]


def test_a_method_is_chosen_in_the_configuration(project, words_plugin):
    plan = make_plan(["train"], project("[train]\nmethod = 'countdown'"), words_plugin)
    assert "train:countdown" in ids(plan)


def test_a_second_quantize_is_refused_in_the_plan(project, words_plugin):
    message = problems(["train", "quantize", "export", "quantize:words"], project(), words_plugin)
    assert "quantize:words: stands behind another quantize" in message
    assert "ftx run train quantize export\n" in message + "\n"


def test_quantize_before_training_is_refused_and_the_right_order_named(project, words_plugin, model_folder):
    (model_folder / "config.json").write_text(HEAD)
    message = problems(["quantize", "train", "export"], project(), words_plugin)
    assert "throw its recipe away" in message
    assert "ftx run train quantize export" in message


def test_a_checkpoint_behind_the_export_needs_another_export(project, words_plugin):
    assert "behind the export" in problems(["train", "export", "prune"], project(), words_plugin)
    assert "export:words#2" in ids(make_plan(["train", "export", "prune", "export"], project(), words_plugin))


def test_a_model_without_a_head_must_be_trained_first(project, words_plugin):
    message = problems(["quantize", "export"], project(), words_plugin)
    assert "no trained head yet" in message
    assert "ftx run train quantize export" in message


def test_export_alone_is_legal_with_a_trained_head(project, words_plugin, model_folder):
    (model_folder / "config.json").write_text(HEAD)
    assert "export:words" in ids(make_plan(["export"], project(), words_plugin))


def test_every_problem_is_reported_at_once(project, words_plugin):
    text = """
        sede = 3
        [train]
        tekst = "x"
        rate = 2.0
        [nonsense]
        a = 1
        [budget]
        accuracy_drop = "small"
        [model]
        name = "./missing"
    """
    message = problems(["trian", "train", "export"], project(text), words_plugin)
    for part in (
        "did you mean seed?",
        "did you mean train.text?",
        "train.rate = 2.0 (ftx.toml)",
        "unknown setting nonsense",
        "budget.accuracy_drop = 'small'",
        "./missing does not exist",
        "unknown step trian (did you mean train?)",
    ):
        assert part in message, part


def test_a_problem_of_a_model_is_not_reported_once_more_by_each_step(project, words_plugin):
    message = problems(["train", "export"], project("[model]\nname = './missing'"), words_plugin)
    assert message.startswith("1 problem in the plan")


def test_a_plan_without_a_model_says_how_to_name_one(project, words_plugin):
    message = problems(["train"], project("[model]\ntask = 'text-classification'"), words_plugin)
    assert "model.name is not set" in message
    assert "--set model.name=" in message


def test_weights_in_pickle_are_refused_with_a_way_to_convert_them(project, words_plugin, model_folder):
    (model_folder / "model.safetensors").rename(model_folder / "pytorch_model.bin")
    message = problems(["train"], project(), words_plugin)
    assert "pickle" in message
    assert "save_pretrained" in message


def test_a_folder_without_weights_is_refused(project, words_plugin, model_folder):
    (model_folder / "model.safetensors").unlink()
    assert "holds no weights" in problems(["train"], project(), words_plugin)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("model.safetensors", b"\x10\0\0\0\0\0\0\0{}", "is damaged"),
        ("model.safetensors", b"", "is damaged"),
        ("model.safetensors", b"\x02\0\0\0\0\0\0\0{}beyond", "should have 10 bytes, and has 16"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
        ("config.json", b"[]", "names no model_type"),
        ("config.json", b"{", "is not JSON"),
    ],
)
def test_a_model_folder_with_a_broken_file_is_refused(project, words_plugin, model_folder, name, content, says):
    (model_folder / name).write_bytes(content)
    assert says in problems(["train"], project(), words_plugin)


def test_a_model_folder_without_a_tokenizer_is_refused(project, words_plugin, model_folder):
    (model_folder / "vocab.txt").unlink()
    assert "holds no tokenizer" in problems(["train"], project(), words_plugin)
    (model_folder / "tokenizer_config.json").write_text('{"tokenizer_class": "CanineTokenizer"}')
    assert make_plan(["train"], project(), words_plugin)


def test_a_required_plugin_that_is_missing_is_a_problem(project, words_plugin):
    message = problems(["train"], project("[requires]\nplugins = ['sparkle']"), words_plugin)
    assert "requires the plugin sparkle" in message


def test_a_device_that_is_not_there_is_a_problem(project, words_plugin, monkeypatch):
    monkeypatch.setattr("ftx.machine.has_cuda", lambda: False)
    assert "no NVIDIA GPU" in problems(["train"], project("device = 'cuda'"), words_plugin)


def test_too_little_disk_is_a_problem_before_anything_runs(project, words_plugin, monkeypatch, model_folder):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    assert "may need" in problems(["train", "export"], project(), words_plugin)


def test_a_hub_id_gets_a_step_that_fetches_it(project, words_plugin):
    words_plugin.add("hub", "ftx_plugins.model.hooks", "ftx-toolchain", "1")
    plan = make_plan(["train"], project("[model]\nname = 'bert-base-chinese'\nrevision = 'v1'"), words_plugin)
    assert ids(plan)[0] == "model:hub"
    assert plan.steps[0].config.name == "bert-base-chinese"
    assert plan.steps[0].config.revision == "v1"
    assert inputs(plan, "train:words")["model"] == "model:hub"
    assert plan.steps[0].gives is Checkpoint


def test_a_step_that_lacks_a_package_names_the_line_that_adds_it(project, words_plugin, monkeypatch):
    step = words_plugin.steps()["train:words"]
    monkeypatch.setitem(words_plugin._steps, "train:words", type(step)(**{**vars(step), "requires": ("sparkle",)}))
    words_plugin._origins["Step", "train:words"] = words_plugin.infos[0]
    message = problems(["train"], project(), words_plugin)
    assert "needs sparkle, not installed" in message
    assert "pip install sparkle" in message


REGRESSION = "[model]\nname = 'encoder'\ntask = 'regression'\n"


def test_a_step_that_does_not_work_for_the_task_is_a_problem_of_the_plan(project, words_plugin):
    message = problems(["train", "export:letters"], project(REGRESSION), words_plugin)
    assert "export:letters: does not work for regression, only for text-classification" in message
    assert make_plan(["train", "export:words"], project(REGRESSION), words_plugin)


def test_a_limit_on_a_figure_that_the_task_does_not_have_is_a_problem_of_the_plan(project, words_plugin):
    text = REGRESSION + "[budget]\naccuracy_drop = 0.01\nmetric_drop = 0.5\n"
    message = problems(["train"], project(text), words_plugin)
    assert "budget.accuracy_drop: regression has no figure that accuracy_drop could limit" in message
    assert "metric_drop could" not in message


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ('{"architectures": ["BertForSequenceClassification"]}', "text-classification"),
        ('{"architectures": ["BertForSequenceClassification"], "id2label": {"0": "x"}}', "regression"),
        ('{"architectures": ["A"], "problem_type": "regression"}', None),
        (
            '{"architectures": ["BertForSequenceClassification"], "problem_type": "multi_label_classification"}',
            "multi-label-classification",
        ),
        ('{"architectures": ["BertForTokenClassification"]}', "token-classification"),
        ('{"architectures": ["BertForQuestionAnswering"]}', None),
    ],
)
def test_the_task_of_a_trained_head_is_told_from_the_configuration(config, task):
    assert task_of_head(json.loads(config)) == task
