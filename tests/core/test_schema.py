from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from ftx.planner import make_plan
from ftx.plugins import PluginManager
from ftx.schema import project_schema, step_schema

ROOT = Path(__file__).parents[2]
CLUSTER = """
    from pydantic import BaseModel, Field
    from ftx import Checkpoint, Step, StepConfig, hookimpl

    class Limits(StepConfig):
        most: int = Field(9, ge=1, description="Clusters at most")

    class Config(StepConfig):
        clusters: int = Field(3, ge=1, description="Clusters to find")
        limits: Limits = Field(Limits(), description="How far to go")

    class Other(StepConfig):
        clusters: str = Field("few", description="Clusters to find, in words")

    @hookimpl
    def ftx_steps():
        for name, config in (("kmeans", Config), ("words", Other)):
            yield Step(name=name, stage="cluster", summary="x", takes={"model": Checkpoint}, gives=None,
                       config=config, run="nowhere:run")
"""


def errors(toml, plugins=None):
    """What the schema says about a project: `where: message`, an error each."""
    schema, gaps = project_schema(plugins or PluginManager.load(third_party=False))
    assert gaps == []
    Draft202012Validator.check_schema(schema)
    found = Draft202012Validator(schema).iter_errors(tomllib.loads(toml))
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def test_the_example_is_valid():
    assert errors((ROOT / "examples" / "tweets" / "ftx.toml").read_text(encoding="utf-8")) == []


def test_a_project_that_uses_every_kind_of_table_is_valid():
    assert not errors(
        """
        seed = 3
        device = "cpu"
        store = "/tmp/store"
        [model]
        name = "bert"
        trust_remote_code = true
        [data]
        train = "rows.csv"
        validation = "more.csv"
        [train]
        learning_rate = 1 # an int where a float is asked for, as in ftx itself
        unfreeze_last = 2
        [quantize]
        method = "static"
        per_channel = false
        smooth = 0.5
        [quantize.static]
        exclude = ["classifier"]
        [export]
        formats = ["onnx"]
        opset = 18
        [requires]
        plugins = ["a"]
        [budget]
        size_mb = 60
        """
    )


@pytest.mark.parametrize(
    ("toml", "error"),
    [
        ("sed = 3", "'sed' was unexpected"),
        ("seed = -1", "seed: -1 is less than the minimum"),
        ("seed = '3'", "seed: '3' is not of type 'integer'"),
        ("device = 'gpu'", "device: 'gpu' is not one of"),
        ("[trian]\nepochs = 3", "'trian' was unexpected"),
        ("[train]\nepoch = 3", "train: Additional properties are not allowed ('epoch' was unexpected)"),
        ("[train]\nepochs = '3'", "train.epochs: '3' is not of type 'integer'"),
        ("[train]\nepochs = true", "train.epochs: True is not of type 'integer'"),
        ("[train]\nepochs = 0", "train.epochs: 0 is less than the minimum of 1"),
        ("[train]\nmethod = 'magic'", "train.method: 'magic' is not one of"),
        ("[train.finetune]\nepoch = 3", "train.finetune: Additional properties"),
        ("[quantize.dynamic]\npercentile = 99.9", "quantize.dynamic: Additional properties"),
        ("[export]\nformats = 'onnx'", "export.formats: 'onnx' is not of type 'array'"),
        ("[export]\nformats = ['tflite']", "export.formats.0: 'tflite' is not one of"),
        ("[export]\nformats = []", "export.formats: [] "),
        ("[budget]\naccuracy = 0.1", "budget: Additional properties"),
        ("[budget]\nflip_rate = 2", "budget.flip_rate: 2 is greater than the maximum"),
        ("[model]\ntask = 'ner'", "model.task: 'ner' is not one of"),
        ("[requires]\nplugins = [1]", "requires.plugins.0: 1 is not of type 'string'"),
        ("data = 3", "data: 3 is not of type 'object'"),
    ],
)
def test_what_ftx_refuses_the_schema_refuses_too(toml, error, project):
    (found,) = errors(toml)
    assert error in found
    text = toml if "[model]" in toml else toml + "\n[model]\nname = 'encoder'\n"
    with pytest.raises(Exception, match="problem"):
        make_plan(["train", "quantize", "export"], project(text), PluginManager.load(third_party=False))


def test_every_default_of_every_step_is_valid_in_the_stages_table_and_in_its_own():
    plugins = PluginManager.load(third_party=False)
    schema, _ = project_schema(plugins)
    validator = Draft202012Validator(schema)
    steps = [step for step in plugins.steps().values() if step.stage != "model"]
    assert len(steps) > 10
    for step in steps:
        fields = step.config.model_fields.items()
        defaults = {name: field.default for name, field in fields if not field.is_required()}
        plain = json.loads(json.dumps({name: value for name, value in defaults.items() if value is not None}))
        assert not list(validator.iter_errors({step.stage: plain})), step.full_name
        assert not list(validator.iter_errors({step.stage: {step.name: plain}})), step.full_name


def test_every_key_is_described_where_an_editor_shows_it():
    schema, _ = project_schema(PluginManager.load(third_party=False))
    for name, table in schema["properties"].items():
        assert table.get("description"), name
        for key, field in table.get("properties", {}).items():
            assert field.get("description") or all(each["description"] for each in field["anyOf"]), f"{name}.{key}"


def test_the_steps_of_a_plugin_are_in_the_schema(install):
    install("cluster", CLUSTER)
    plugins = PluginManager.load()
    valid = (
        "[cluster]\nmethod = 'words'\nclusters = 3\n[cluster.kmeans.limits]\nmost = 2\n[cluster.words]\nclusters = 'a'"
    )
    assert errors(valid, plugins) == []
    assert "cluster.kmeans.limits.most: 0 is less" in errors("[cluster.kmeans.limits]\nmost = 0", plugins)[0]
    assert "cluster.clusters: [] is not valid" in errors("[cluster]\nclusters = []", plugins)[0]
    assert "cluster.words.clusters: 3 is not of" in errors("[cluster.words]\nclusters = 3", plugins)[0]


def test_settings_that_have_no_schema_leave_their_stage_open_and_are_named(install, ftx):
    code = CLUSTER.replace('clusters: str = Field("few"', "clusters: Callable[[], int] = Field(print")
    install("cluster", "    from collections.abc import Callable\n" + code)
    schema, gaps = project_schema(PluginManager.load())
    assert "cluster:words (cluster (ftx-cluster 2.1))" in gaps[0]
    assert not list(Draft202012Validator(schema).iter_errors({"cluster": {"words": {"clusters": 3}, "new": 1}}))
    assert list(Draft202012Validator(schema).iter_errors({"cluster": {"kmeans": {"new": 1}}}))
    ran = ftx("steps", "show", "cluster:words", "--schema")
    assert ran.returncode == 2
    assert "have no JSON Schema" in ran.stderr


def test_steps_show_prints_the_schema_of_a_step(ftx):
    schema = json.loads(ftx("steps", "show", "data", "--schema").stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert not list(validator.iter_errors({"train": "rows.csv", "test_size": 0.5}))
    assert len(list(validator.iter_errors({"test_size": 2, "nonsense": 1}))) == 3


def test_every_built_in_step_has_a_schema():
    plugins = PluginManager.load(third_party=False)
    for step in plugins.steps().values():
        schema = step_schema(step, plugins)
        Draft202012Validator.check_schema(schema)
        assert set(schema["properties"]) == set(step.config.model_fields)


def test_init_writes_the_schema_beside_ftx_toml_and_names_it_in_its_first_line(ftx, tmp_path):
    ran = ftx("init", "--schema", "--json")
    assert json.loads(ran.stdout)["schema"] == "ftx.schema.json"
    text = (tmp_path / "ftx.toml").read_text()
    assert text.splitlines()[0] == "#:schema ./ftx.schema.json"
    schema = json.loads((tmp_path / "ftx.schema.json").read_text())
    assert not list(Draft202012Validator(schema).iter_errors(tomllib.loads(text)))


def test_init_gives_a_project_that_is_there_a_schema_and_refreshes_it(ftx, tmp_path, install):
    (tmp_path / "my.toml").write_bytes(b"seed = 3\r\n")
    assert ftx("init", "--schema", "--out", "my.toml").returncode == 0
    assert (tmp_path / "my.toml").read_bytes() == b"#:schema ./my.schema.json\nseed = 3\r\n"
    assert "cluster" not in json.loads((tmp_path / "my.schema.json").read_text())["properties"]
    install("cluster", CLUSTER)
    assert ftx("init", "--schema", "--out", "my.toml").returncode == 0
    assert (tmp_path / "my.toml").read_bytes() == b"#:schema ./my.schema.json\nseed = 3\r\n"
    assert "cluster" in json.loads((tmp_path / "my.schema.json").read_text())["properties"]


def test_init_overwrites_no_schema_that_somebody_else_wrote(ftx, tmp_path):
    (tmp_path / "ftx.schema.json").write_text("{}")
    ran = ftx("init", "--schema")
    assert ran.returncode == 2
    assert "ftx did not write it" in ran.stderr
    assert (tmp_path / "ftx.schema.json").read_text() == "{}"
    assert not (tmp_path / "ftx.toml").exists()


def test_init_with_a_model_never_touches_a_project_that_is_there(ftx, tmp_path):
    (tmp_path / "ftx.toml").write_text("seed = 3\n")
    assert ftx("init", "--schema", "--model", "bert").returncode == 2
    assert (tmp_path / "ftx.toml").read_text() == "seed = 3\n"
    assert not (tmp_path / "ftx.schema.json").exists()
