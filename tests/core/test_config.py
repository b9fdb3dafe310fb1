from __future__ import annotations

import pytest

from ftx.config import load_config, parse_value
from ftx.errors import FtxError, PlanError
from ftx.planner import make_plan
from ftx.sources import resolve_path


def train_step(plan):
    return next(planned for planned in plan.steps if planned.step.stage == "train")


def test_the_command_line_wins_over_the_environment_over_the_file_over_defaults(project, words_plugin):
    text = "[train]\ntext = 'file'\nfail = 'file'\n"
    config = project(text, "train.text=line", FTX_TRAIN__TEXT="env", FTX_TRAIN__FAIL="env")
    step = train_step(make_plan(["train"], config, words_plugin))
    assert (step.config.text, step.config.fail, step.config.rate) == ("line", "env", 0.5)
    assert step.sources == {"text": "--set", "fail": "FTX_TRAIN__FAIL", "rate": "default"}


def test_a_table_of_one_method_wins_over_the_stages_table(project, words_plugin):
    text = "[export]\ntext = 'all'\n[export.letters]\ntext = 'letters'\n"
    plan = make_plan(["train", "export:words", "export:letters"], project(text), words_plugin)
    texts = {planned.id: planned.config.text for planned in plan.steps if planned.step.stage == "export"}
    assert texts == {"export:words": "all", "export:letters": "letters"}


def test_a_key_that_only_a_method_not_planned_has_is_legal(project, words_plugin):
    assert make_plan(["train:words"], project("[train]\nsteps = 5\n"), words_plugin)


def test_unknown_keys_of_a_method_table_are_found(project, words_plugin):
    with pytest.raises(PlanError, match=r"did you mean export\.letters\.text\?"):
        make_plan(["train"], project("[export.letters]\ntxt = 'x'\n"), words_plugin)


@pytest.mark.parametrize(
    ("text", "value"),
    [("3e-5", 3e-5), ("true", True), ("[1, 2]", [1, 2]), ("bert-base-chinese", "bert-base-chinese"), ('"3"', "3")],
)
def test_a_setting_is_a_toml_value_or_else_a_string(text, value):
    assert parse_value(text) == value


def test_a_setting_cannot_smuggle_in_another_key():
    assert parse_value("1\nother = 2") == "1\nother = 2"


@pytest.mark.parametrize("value", ['"3"', "true", "2.5"])
def test_a_mistyped_value_is_refused_not_converted(project, words_plugin, value):
    with pytest.raises(PlanError, match=r"train\.steps"):
        make_plan(["train:countdown"], project("", f"train.steps={value}"), words_plugin)


def test_a_setting_without_a_value_is_an_error():
    with pytest.raises(FtxError, match="KEY=VALUE"):
        load_config(settings=["train"])


def test_a_file_that_is_no_toml_is_an_error_that_names_the_line(tmp_path):
    path = tmp_path / "ftx.toml"
    path.write_text("[train]\nepochs = = 3\n")
    with pytest.raises(FtxError, match="line 2"):
        load_config(path)


def test_a_table_that_is_given_a_value_is_called_a_table(project, words_plugin):
    with pytest.raises(PlanError, match="train is a table, not a value") as raised:
        make_plan(["train"], project("", "train=3"), words_plugin)
    assert raised.value.hints == ("set one of its keys: train.KEY",)


def test_reserved_environment_variables_are_no_settings(project):
    config = project("", FTX_PLUGINS="a", FTX_CONFIG="b", FTX_SEED="7")
    assert config.values["seed"] == 7
    assert "plugins" not in config.values


def test_a_package_path_is_found_without_importing_the_package(tmp_path, monkeypatch):
    package = tmp_path / "explosive"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "rows.csv").write_text("text,label\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert resolve_path("pkg:explosive/rows.csv", tmp_path) == (package / "rows.csv").resolve()
    with pytest.raises(FtxError, match=r"the package explosive has no other\.csv"):
        resolve_path("pkg:explosive/other.csv", tmp_path)
    with pytest.raises(FtxError, match="no package 'nowhere'"):
        resolve_path("pkg:nowhere/rows.csv", tmp_path)


@pytest.mark.parametrize("name", ["imdb", "user/reviews", "bert-base-chinese", "intfloat/e5-small-v2"])
def test_a_name_that_is_no_path_is_a_hub_id_where_one_is_allowed(tmp_path, name):
    assert resolve_path(name, tmp_path, hub=True) == f"hub:{name}"
    with pytest.raises(FtxError):
        resolve_path(name, tmp_path)


@pytest.mark.parametrize("name", ["reviews.csv", "./imdb", "/data/imdb", "a/b/c", "data/reviews.jsonl"])
def test_a_missing_file_is_never_taken_for_a_hub_id(tmp_path, name):
    with pytest.raises(FtxError, match="does not exist"):
        resolve_path(name, tmp_path, hub=True)
