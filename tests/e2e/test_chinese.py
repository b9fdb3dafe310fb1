"""Chinese end to end: real reviews and a WordPiece vocabulary made of them, as the example has it, in small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from ftx.artifacts import open_artifact
from ftx_serving.contract import Contract

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "reviews-zh"
LITTLE = """
[model]
name = "encoder"

[data]
train = "reviews.csv"
max_train_rows = 2000
max_validation_rows = 300

[train]
epochs = 3
batch_size = 16
learning_rate = 1e-3
max_length = 64
mixed_precision = "fp32"

[quantize]
calibration_rows = 64
choice_rows = 64
held_out_rows = 200
sensitivity_rows = 8

[export]
parity_texts = 8

[evaluate]
max_rows = 600
invariance_rows = 12
latency_rows = 20

[choose]
seconds = 0.1
"""
MAJORITY = 0.53
"""The share of the larger class among the reviews."""


@pytest.fixture(scope="module")
def job(make_project):
    """The project, and how the run ended."""
    project = make_project()
    command = [sys.executable, str(EXAMPLE / "prepare.py"), "--out", str(project.root), "--every", "6"]
    subprocess.run(command, env=project.environment, check=True, capture_output=True)
    project.write(LITTLE)
    return project, project.ftx("run", "train", "quantize", "export", "--json")


def test_a_vocabulary_of_reviews_knows_the_characters_of_a_review(job):
    tokenizer = Tokenizer.from_file(str(job[0].root / "encoder" / "tokenizer.json"))
    assert tokenizer.encode("房间很干净，服务也好").tokens == ["[CLS]", *"房间很干净，服务也好", "[SEP]"]


def test_reviews_are_told_apart_by_every_variant_of_the_bundle(job):
    _, ran = job
    assert ran.code == 0, ran.err
    scores = {row["variant"]: row["accuracy"] for row in ran.json["scoreboard"] if row["step"] == "choose:fastest"}
    bundle = open_artifact(Path(ran.json["artifact"]["path"]))
    assert set(scores) == {variant.name for variant in Contract.from_meta(bundle.meta).variants}
    assert min(scores.values()) > MAJORITY + 0.15


def test_the_labels_of_a_prediction_are_those_of_the_file(job):
    project, _ = job
    ran = project.ftx("predict", "latest", "房间很干净，服务也很好，下次还会来", "质量太差了，很失望，退货", "--json")
    assert [scores[0]["label"] for scores in ran.json] == ["好评", "差评"]


def test_the_example_is_a_plan_that_holds(job):
    project, _ = job
    project.write((EXAMPLE / "ftx.toml").read_text(encoding="utf-8"))
    ran = project.ftx("plan", "train", "quantize", "export")
    assert ran.code == 0, ran.err
