"""The same job by other ways: another order of the steps, one format after the other, from Python."""

from __future__ import annotations

from pathlib import Path

import pytest

import ftx
from ftx.artifacts import open_artifact
from ftx.errors import ExitCode

pytestmark = pytest.mark.xdist_group("ways-to-run")

WORDS = ("train", "quantize", "export")
VARIANTS = ["onnx-fp32", "onnx-int8", "torchscript-fp32", "torchscript-int8"]


@pytest.fixture(scope="module")
def job(make_project):
    """A project with the tiny encoder, and how `ftx run train quantize export --json` ended."""
    project = make_project(settings="seed = 3")
    ran = project.ftx("run", *WORDS, "--json")
    assert ran.code == 0, ran.err
    return project, ran.json


@pytest.fixture(scope="module")
def texts(make_sentences) -> list[str]:
    return [text for text, _ in make_sentences(40, seed=9)]


def variants(document) -> list[str]:
    return sorted(variant["name"] for variant in open_artifact(Path(document["artifact"]["path"])).meta["variants"])


def predictions(project, document, texts, variant):
    ran = project.ftx("predict", document["artifact"]["digest"], *texts, "--variant", variant, "--json")
    assert ran.code == 0, ran.err
    return ran.json


@pytest.mark.slow
def test_quantize_behind_export_gives_the_same_int8_as_before_it(job, texts):
    project, first = job
    ran = project.ftx("run", "train", "export", "quantize", "--json")
    assert ran.code == 0, ran.err
    assert "onnx-int8" in variants(ran.json)
    assert predictions(project, ran.json, texts, "onnx-int8") == predictions(project, first, texts, "onnx-int8")


@pytest.mark.slow
def test_one_format_after_the_other_extends_one_bundle(job, texts):
    project, first = job
    ran = project.ftx("run", "train", "quantize", "export:onnx", "export:torchscript", "--json")
    assert ran.code == 0, ran.err
    assert variants(ran.json) == VARIANTS
    for variant in ("onnx-int8", "torchscript-int8"):
        assert predictions(project, ran.json, texts, variant) == predictions(project, first, texts, variant)


def test_eval_measures_a_bundle_and_prints_json(job):
    project, first = job
    ran = project.ftx("eval", first["artifact"]["digest"][:12], "--json")
    assert ran.code == 0, ran.err

    def quality(document):
        names = ("variant", "accuracy", "f1_macro", "flip_rate")
        rows = [row for row in document["scoreboard"] if row["split"] == "test"]
        return {tuple(row[name] for name in names) for row in rows}

    assert quality(ran.json) == quality(first)
    assert len(ran.json["scoreboard"]) == 5


def test_python_does_the_same_as_the_command_line(job):
    project, first = job
    steps = []
    result = ftx.run(
        list(WORDS),
        config=project.root / "ftx.toml",
        listener=lambda name, values: steps.append(values["step"]) if name == "step_finished" else None,
        environment={},
    )
    assert result.status == "done"
    assert result.to_json()["artifact"] == first["artifact"]
    assert steps == [step["step"] for step in first["steps"]]


def test_python_raises_an_error_with_the_exit_code(job):
    config = job[0].root / "ftx.toml"
    with pytest.raises(ftx.FtxError, match="unknown step trian") as unknown:
        ftx.run(["trian"], config=config, environment={})
    assert unknown.value.code == ExitCode.USER
    with pytest.raises(ftx.FtxError, match="size_mb") as broken:
        ftx.run(list(WORDS), config=config, settings=["budget.size_mb=0.001"], environment={})
    assert broken.value.code == ExitCode.BUDGET


def test_an_unknown_executor_is_one_clear_error(job):
    ran = job[0].ftx("run", *WORDS, "--executor", "nonsense")
    assert ran.code == ExitCode.USER
    assert "unknown executor nonsense" in ran.err
    assert any("local" in hint for hint in ran.hints)
    assert "Traceback" not in ran.err


def test_quiet_shows_no_progress(job):
    ran = job[0].ftx("run", *WORDS, "--quiet", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["status"] == "done"


def test_the_scoreboard_and_the_next_commands_end_a_run(job):
    ran = job[0].ftx("run", *WORDS)
    assert "onnx-int8" in ran.out
    assert ran.out.rstrip().splitlines()[-3].strip().startswith("ftx predict latest")
    assert "hit" in ran.err


def test_a_run_with_an_export_ends_with_a_choice_that_predict_uses(job, texts):
    project, document = job
    bundle = open_artifact(Path(document["artifact"]["path"]))
    choice = bundle.meta["choice"]
    assert choice["variant"] in VARIANTS
    ran = project.ftx("predict", "latest", texts[0])
    assert ran.code == 0, ran.err
    assert f"variant {choice['variant']}" in ran.err
    assert f"chosen for this machine: {choice['variant']}" in project.ftx("run", *WORDS).out


def test_bench_measures_every_variant_and_changes_nothing(job):
    project, document = job
    before = sorted(project.store.digests())
    ran = project.ftx("bench", "latest", "--seconds", "0.05", "--threads", "1", "--batch-size", "8", "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    assert sorted(candidate["variant"] for candidate in found["candidates"]) == VARIANTS
    assert [candidate["fastest"] for candidate in found["candidates"]].count(True) == 1
    assert found["bundle"] == document["artifact"]["digest"]
    assert found["source"] == "the data set's validation split"
    assert sorted(project.store.digests()) == before


def test_bench_takes_texts_from_a_file_and_shows_a_table(job):
    project, _ = job
    (project.root / "texts.txt").write_text("the car is good\na very bad phone it was\n")
    command = ("bench", "latest:export", "--texts", "texts.txt", "--seconds", "0.05", "--threads", "1")
    ran = project.ftx(*command, "--variant", "onnx-int8", "--variant", "onnx-fp32")
    assert ran.code == 0, ran.err
    assert "2 texts (texts.txt)" in ran.out
    assert ran.out.count("onnxruntime") == 2
    assert ran.out.count("→") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("latest", "--texts", "empty.txt"), "empty.txt holds no text"),
        (("latest", "--texts", "missing.txt"), "missing.txt cannot be read"),
        (("latest", "--variant", "onnx-int4"), "no variant onnx-int4"),
        (("latest:train",), "latest:train is a checkpoint"),
    ],
)
def test_bench_says_what_is_wrong_and_what_to_do(job, arguments, says):
    project, _ = job
    (project.root / "empty.txt").write_text("\n \n")
    ran = project.ftx("bench", *arguments)
    assert ran.code == ExitCode.USER
    assert says in ran.err
    assert ran.hints
    assert "Traceback" not in ran.err


def test_an_infeasible_budget_names_the_nearest_that_is_feasible(job):
    ran = job[0].ftx("run", *WORDS, "--set", "budget.size_mb=0.001")
    assert ran.code == ExitCode.BUDGET
    assert any(hint.startswith("the nearest budget that") and "--set budget.size_mb=" in hint for hint in ran.hints)
