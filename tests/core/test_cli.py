from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ftx.artifacts import Manifest

HEAVY = {"torch", "transformers", "datasets", "onnx", "onnxruntime", "sklearn", "pyarrow", "numpy", "tokenizers"}
LOADED = """
import sys
from ftx.cli import main
try:
    main({arguments!r})
except SystemExit as finished:
    assert finished.code == 0, finished.code
print("\\n" + " ".join(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


@pytest.fixture
def ftx(tmp_path):
    """`ftx(*arguments)`: the command line in a fresh process, in an empty folder."""
    # The tree under test, where it is not the one that is installed.
    kept = {name: value for name, value in os.environ.items() if name == "PYTHONPATH"}

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "ftx", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **kept, **environment},
            check=False,
        )

    return run


def loaded_by(*arguments):
    """The top-level modules in memory after a command."""
    code = LOADED.format(arguments=list(arguments))
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(out.rsplit("\n", 2)[-2].split())


def test_help_needs_neither_pydantic_nor_rich():
    assert not loaded_by("--help") & {*HEAVY, "pydantic", "rich"}


@pytest.mark.parametrize("command", [["steps"], ["plugins"], ["runs"], ["steps", "show", "train"], ["doctor"]])
def test_listing_imports_nothing_heavy(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not loaded_by(*command) & HEAVY


def test_planning_imports_nothing_heavy(tiny_encoder, sentences_csv, monkeypatch):
    monkeypatch.chdir(sentences_csv.parent)
    settings = [f"model.name={tiny_encoder}", f"data.train={sentences_csv.name}"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    assert not loaded_by("plan", "train", "quantize", "export", *arguments) & HEAVY


def test_an_unknown_command_has_a_did_you_mean_and_code_2(ftx):
    ran = ftx("rum")
    assert ran.returncode == 2
    assert "did you mean run?" in ran.stderr


def test_a_plan_with_problems_is_code_2_on_stderr_and_in_json(ftx):
    ran = ftx("run", "train", "--json", "--set", "model.name=./missing")
    assert ran.returncode == 2
    assert "./missing does not exist" in ran.stderr
    error = json.loads(ran.stdout)["error"]
    assert error["code"] == 2
    assert "./missing does not exist" in error["message"]
    assert error["hints"]


def test_wrong_usage_with_json_is_one_document_too(ftx):
    ran = ftx("run", "--nonsense", "--json")
    assert ran.returncode == 2
    assert "nonsense" in json.loads(ran.stdout)["error"]["message"]


def test_init_guesses_the_columns_and_never_overwrites(ftx, tmp_path):
    (tmp_path / "reviews.csv").write_text("id,Review,Sentiment\n1,good,positive\n")
    assert ftx("init", "--data", "reviews.csv").returncode == 0
    written = (tmp_path / "ftx.toml").read_text()
    assert 'text = "Review"' in written
    assert 'label = "Sentiment"' in written
    again = ftx("init")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert (tmp_path / "ftx.toml").read_text() == written


def test_init_says_in_json_what_it_wrote(ftx):
    said = json.loads(ftx("init", "--json").stdout)
    assert said["path"] == "ftx.toml"
    assert said["next"] == "ftx plan train quantize export"


def test_what_init_writes_is_a_valid_plan(ftx, tiny_encoder, sentences_csv):
    assert ftx("init", "--model", str(tiny_encoder), "--data", sentences_csv.name).returncode == 0
    ran = ftx("plan", "train", "quantize", "export", "--json")
    assert ran.returncode == 0, ran.stderr
    plan = json.loads(ran.stdout)
    assert [step["step"] for step in plan["steps"] if not step["added"]] == [
        "train:finetune",
        "quantize:auto",
        "export:bundle",
    ]
    train = next(step for step in plan["steps"] if step["step"] == "train:finetune")
    assert train["settings"]["epochs"] == {"value": 3, "source": "ftx.toml"}
    assert train["settings"]["weight_decay"]["source"] == "default"


def test_steps_show_prints_types_bounds_and_meaning(ftx):
    shown = ftx("steps", "show", "quantize:dynamic").stdout
    assert "per_channel: boolean = True" in shown
    schema = json.loads(ftx("steps", "show", "train", "--json").stdout)["settings"]
    assert all(field.get("description") for field in schema["properties"].values())


def test_every_setting_of_every_built_in_step_is_described_and_every_number_bounded():
    from ftx.plugins import PluginManager

    for step in PluginManager.load(third_party=False).steps().values():
        for name, field in step.config.model_json_schema()["properties"].items():
            assert field.get("description"), f"{step.full_name}.{name}"
            kinds = [field, *field.get("anyOf", [])]
            for kind in [kind for kind in kinds if kind.get("type") in ("integer", "number")]:
                assert {"minimum", "exclusiveMinimum"} & kind.keys(), f"{step.full_name}.{name} has no bound"


def test_predict_without_a_run_says_what_to_run(ftx):
    ran = ftx("predict", "latest:export", "hello")
    assert ran.returncode == 2
    assert "ftx run export" in ran.stderr


def test_a_reference_that_names_nothing_is_code_2(ftx):
    ran = ftx("show", "abc123")
    assert ran.returncode == 2
    assert "ftx cache ls" in ran.stderr


def test_an_empty_project_lists_no_runs_and_verifies_clean(ftx, tmp_path):
    assert json.loads(ftx("runs", "--json").stdout) == []
    assert json.loads(ftx("cache", "verify", "--json").stdout) == {"checked": 0, "damaged": []}
    assert not (tmp_path / ".ftx").exists()


def test_doctor_describes_the_machine(ftx):
    facts = json.loads(ftx("doctor", "--json").stdout)
    assert facts["cores"] >= 1
    assert facts["packages"]["train"]["torch"]
    assert facts["processor"]


def test_a_damaged_artifact_is_named_and_the_others_are_listed(ftx, tmp_path):
    for name in ("damaged", "whole"):
        (tmp_path / ".ftx" / "objects" / name).mkdir(parents=True)
    manifest = Manifest(kind="dataset", files={}, created="2026-01-01")
    (tmp_path / ".ftx" / "objects" / "whole" / "manifest.json").write_text(manifest.to_json())
    ran = ftx("cache", "ls", "--json")
    assert ran.returncode == 0
    assert [artifact["digest"] for artifact in json.loads(ran.stdout)] == [manifest.digest]
    assert "damaged holds no artifact" in ran.stderr


def test_texts_that_are_no_utf8_are_one_clear_error(ftx, tmp_path):
    (tmp_path / "texts.txt").write_bytes(b"fine\nbro\xffken\n")
    ran = ftx("predict", "latest", "--file", "texts.txt", "--json")
    assert ran.returncode == 2
    assert "texts.txt is not UTF-8" in json.loads(ran.stdout)["error"]["message"]
    assert "Traceback" not in ran.stderr


def test_a_bug_is_called_one_shown_with_its_traceback_and_is_json_too(ftx, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import ftx.runs\nftx.runs.list_runs = None\n")
    ran = ftx("runs", "--json", PYTHONPATH=str(tmp_path))
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr
    error = json.loads(ran.stdout)["error"]
    assert error["message"].startswith("TypeError")
    assert "report it" in error["hints"][0]
