"""Names in Chinese, end to end: real news and a vocabulary made of it, as the example has it, in small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ftx.artifacts import open_artifact
from ftx_serving.contract import Contract

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "people-daily-zh"
LITTLE = """
[model]
name = "encoder"
task = "token-classification"

[data]
train = "people.conll"
near_duplicates = "off"
max_train_rows = 6000
max_validation_rows = 300
max_test_rows = 300

[train]
epochs = 4
batch_size = 16
learning_rate = 2e-3
dropout = 0.1
max_length = 96
mixed_precision = "fp32"
early_stopping = 0

[quantize]
calibration_rows = 64
choice_rows = 64
held_out_rows = 200
sensitivity_rows = 8

[export]
parity_texts = 8

[evaluate]
max_rows = 300
invariance_rows = 12
latency_rows = 20

[choose]
seconds = 0.1
"""
FLOOR = 0.2
"""Of the entities' F1. Of tags drawn by their shares (nine words of ten are outside) hardly any entity has its type and
both ends right."""
TEXT = "新华社北京１月３日电，国务院总理李鹏今天在北京会见了美国客人。"


@pytest.fixture(scope="module")
def job(make_project):
    """The project, and how the run ended."""
    project = make_project()
    command = [sys.executable, str(EXAMPLE / "prepare.py"), "--out", str(project.root), "--every", "4"]
    subprocess.run(command, env=project.environment, check=True, capture_output=True)
    project.write(LITTLE)
    return project, project.ftx("run", "train", "quantize", "export", "--json")


def test_persons_places_and_organisations_are_found_by_every_variant_of_the_bundle(job):
    _, ran = job
    assert ran.code == 0, ran.err
    rows = [row for row in ran.json["scoreboard"] if row["step"] == "choose:fastest"]
    bundle = open_artifact(Path(ran.json["artifact"]["path"]))
    assert {row["variant"] for row in rows} == {variant.name for variant in Contract.from_meta(bundle.meta).variants}
    assert bundle.meta["labels"] == ["O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER"]
    assert min(row["score"] for row in rows) > FLOOR
    assert all(row["metric"] == "entity_f1" for row in rows)


def test_entities_stand_where_a_prediction_says_and_are_of_known_types(job):
    project, _ = job
    ran = project.ftx("predict", "latest", TEXT, "没有", "--json")
    [found, none] = ran.json
    assert [TEXT[each["start"] : each["end"]] for each in found] == [each["text"] for each in found]
    assert {each["label"] for each in found} <= {"PER", "LOC", "ORG"}
    assert "北京" in [each["text"] for each in found if each["label"] == "LOC"]
    assert none == []


def test_checkpoint_and_bundle_find_the_same(job):
    project, _ = job
    of_bundle = project.ftx("predict", "latest:export", TEXT, "--variant", "onnx-fp32", "--json").json
    of_checkpoint = project.ftx("predict", "latest:train", TEXT, "--json").json
    kept = [
        [(each["label"], each["start"], each["end"]) for each in answer] for answer in (of_bundle[0], of_checkpoint[0])
    ]
    assert kept[0] == kept[1] != []


def test_the_example_is_a_plan_that_holds(job):
    project, _ = job
    project.write((EXAMPLE / "ftx.toml").read_text(encoding="utf-8"))
    ran = project.ftx("plan", "train", "quantize", "export")
    assert ran.code == 0, ran.err


def test_the_converter_joins_surname_and_given_name_and_no_two_places(job):
    project, _ = job
    lines = (project.root / "people.conll").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("\t") for line in lines if line]
    assert {tag for _, tag in pairs} == {"O", *(f"{p}-{t}" for p in "BI" for t in ("PER", "LOC", "ORG"))}
    assert json.dumps(pairs, ensure_ascii=False).count('["江", "B-PER"], ["泽", "I-PER"], ["民", "I-PER"]') > 0
