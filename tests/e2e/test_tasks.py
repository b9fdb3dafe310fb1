"""Tasks other than single-label classification, all the way: train, quantize, export, evaluate, choose, predict."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tests.serving.server.conftest import start_server

import ftx
from ftx.artifacts import Artifact, Bundle, open_artifact
from ftx.cli import cli
from ftx.config import load_config
from ftx.errors import PlanError
from ftx.planner import make_plan
from ftx.plugins import PluginManager
from ftx.runner import RunResult
from ftx.sweep.objective import Objective, choose_objective
from ftx.testing.projects import QUICK
from ftx.testing.tiny import FILLER, WORDS
from ftx_plugins.checkpoint import load_checkpoint
from ftx_serving.contract import Contract
from ftx_serving.predictor import Predictor

pytestmark = [pytest.mark.xdist_group("tasks"), pytest.mark.slow]

LEARN = ("train.early_stopping=0", "train.learning_rate=1e-3", "train.dropout=0", "data.validation_size=0.2")
"""With these a tiny model has learnt in some twenty epochs what the words mean."""


def write_project(folder: Path, encoder: Path, task: str, data: str) -> Path:
    """An ftx.toml for `task` with the lines `data` of `[data]`, and settings by which all is quick.

    All formats are exported for one task; what differs between tasks is the same in each format.
    """
    path = folder / "ftx.toml"
    quick = QUICK.replace('["onnx", "torchscript"]', '["onnx", "torchscript", "openvino"]')
    quick = quick if task == "multi-label-classification" else QUICK.replace(', "torchscript"]', "]")
    path.write_text(f'[model]\nname = "{encoder}"\ntask = "{task}"\n[data]\n{data}\n{quick}', encoding="utf-8")
    return path


def texts_about(rows: int, seed: int, choose: Callable[[random.Random], Sequence[str]]) -> list[tuple[str, list[str]]]:
    """Distinct texts of filler and two words for each of the labels chosen, and these labels."""
    source = random.Random(seed)
    made = []
    for number in range(rows):
        labels = sorted(choose(source))
        words = source.choices(FILLER, k=source.randint(2, 8)) + [
            word for label in labels for word in source.choices(WORDS[label], k=2)
        ]
        source.shuffle(words)
        made.append((" ".join([*words, f"n{number}"]), labels))
    return made


def made(result: RunResult, stage: str) -> list[Artifact]:
    """What the steps of a stage made, in order."""
    steps = [step for step in result.record.steps if step["step"].startswith(f"{stage}:") and step["artifact"]]
    return [open_artifact(Path(step["artifact"]["path"])) for step in steps]


def last(result: RunResult, stage: str) -> Artifact:
    return made(result, stage)[-1]


def predict(root: Path, *arguments: str) -> Any:
    ran = CliRunner().invoke(cli, ["predict", *arguments, "--config", str(root / "ftx.toml"), "--json"])
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout)


def answers_of_all_variants(bundle: Artifact, texts: Sequence[str]) -> dict[str, list[Any]]:
    runtimes = PluginManager.load(third_party=False).runtimes()
    names = [variant.name for variant in Contract.from_meta(bundle.meta).variants]
    return {name: Predictor.load(bundle.path, runtimes=runtimes, variant=name).predict(texts) for name in names}


VARIANTS = {f"{format}-{precision}" for format in ("onnx", "torchscript", "openvino") for precision in ("fp32", "int8")}


@pytest.fixture(scope="module")
def multi_label(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    root = tmp_path_factory.mktemp("multi-label")
    rows = texts_about(260, 1, lambda source: source.sample(list(WORDS), k=source.choice([0, 1, 1, 2])))
    lines = [json.dumps({"text": text, "label": labels}) for text, labels in rows]
    (root / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    path = write_project(root, tiny_encoder, "multi-label-classification", 'train = "rows.jsonl"')
    return root, ftx.run(["train", "quantize", "export"], path, settings=[*LEARN, "train.epochs=40"])


def test_multi_label_goes_all_the_way(multi_label: tuple[Path, RunResult]) -> None:
    _, result = multi_label
    rows = {(row.step, row.variant): row for row in result.rows if row.split == "validation"}
    bundle = last(result, "export")
    assert {variant for _, variant in rows if variant} == VARIANTS
    assert all(row.accuracy is None and row.metric == "f1_micro" for row in rows.values())
    trained = rows["train:finetune", None]
    assert trained.score is not None and trained.score > 0.65  # all labels for every row would be 0.5
    for variant in VARIANTS:
        row = rows["export:bundle", variant]
        assert row.score is not None and row.score > 0.6
        assert row.flip_rate is not None and row.flip_rate < 0.2
    assert bundle.meta["task"] == "multi-label-classification"
    assert last(result, "choose").meta["choice"]["variant"] in VARIANTS


def test_thresholds_chosen_on_validation_rows_travel_from_the_checkpoint_to_every_answer(
    multi_label: tuple[Path, RunResult],
) -> None:
    root, result = multi_label
    trained, bundle = last(result, "train"), last(result, "export")
    thresholds = trained.meta["thresholds"]
    assert len(thresholds) == 3 and all(0 < each < 1 for each in thresholds)
    assert list(load_checkpoint(trained.path).thresholds) == thresholds == bundle.meta["thresholds"]
    by_label = dict(zip(bundle.meta["labels"], thresholds, strict=True))
    texts = ["this is good and awful", "the table is today", "very good"]
    for answers in answers_of_all_variants(bundle, texts).values():
        for answer in answers:
            assert {each["label"] for each in answer} == set(by_label)
            assert all(each["predicted"] == (each["score"] >= by_label[each["label"]]) for each in answer)
    [of_checkpoint] = predict(root, str(trained.path), texts[0])
    [of_bundle] = predict(root, str(bundle.path), texts[0], "--variant", "onnx-fp32")
    assert {each["label"]: each["predicted"] for each in of_bundle} == {
        each["label"]: each["predicted"] for each in of_checkpoint
    }
    for mine, theirs in zip(of_bundle, of_checkpoint, strict=True):
        assert mine["label"] == theirs["label"] and abs(mine["score"] - theirs["score"]) < 1e-4


def test_changed_rows_show_sets_of_labels(multi_label: tuple[Path, RunResult]) -> None:
    _, result = multi_label
    evaluations = made(result, "evaluate")
    known = {"", *WORDS, *("|".join(sorted((a, b))) for a in WORDS for b in WORDS if a != b), "|".join(sorted(WORDS))}
    for evaluation in evaluations:
        with (evaluation.path / "flips.csv").open(newline="") as file:
            flips = list(csv.DictReader(file))
        assert len(flips) == sum(model["flips"] for model in evaluation.manifest.metrics["models"])
        assert {flip[name] for flip in flips for name in ("label", "before", "after")} <= known
        assert all(flip["before"] != flip["after"] for flip in flips)


def test_regression_goes_all_the_way_in_units_of_its_target(
    tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("regression")
    rows = texts_about(260, 2, lambda source: [source.choice(list(WORDS))])
    value = {"negative": 20.0, "neutral": 50.5, "positive": 90.0}
    table = "".join(f"{text},{value[labels[0]]}\n" for text, labels in rows)
    (root / "rows.csv").write_text(f"text,stars\n{table}", encoding="utf-8")
    path = write_project(root, tiny_encoder, "regression", 'train = "rows.csv"\nlabel = "stars"')
    result = ftx.run(
        ["train", "quantize", "export"], path, settings=[*LEARN, "train.epochs=20", "budget.metric_drop=30"]
    )
    rows_of = {(row.step, row.variant): row for row in result.rows if row.split == "validation"}
    bundle = last(result, "export")
    assert {variant for _, variant in rows_of if variant} == {"onnx-fp32", "onnx-int8"}
    trained = rows_of["train:finetune", None]
    assert (trained.accuracy, trained.f1_macro, trained.metric) == (None, None, "rmse")
    assert trained.score is not None and trained.score < 15  # the targets' standard deviation is about 29
    tolerance = last(result, "data").meta["tolerance"]
    assert 2 < tolerance < 4 and bundle.meta["tolerance"] == tolerance
    for answers in answers_of_all_variants(bundle, ["a good car", "this is awful"]).values():
        [good], [bad] = answers
        assert good["label"] == "stars" and abs(good["score"] - 90) < 20 and abs(bad["score"] - 20) < 20
    assert_served(bundle)
    logits = np.load(last(result, "evaluate").path / "logits.npz")
    assert logits["label"].dtype == np.float64


@pytest.mark.parametrize(
    ("task", "settings", "said"),
    [
        ("regression", ["budget.accuracy_drop=0.1"], "no figure that accuracy_drop could limit"),
        ("regression", ["train.label_smoothing=0.1"], "train.label_smoothing is for text-classification"),
        ("multi-label-classification", ["train.sampler=balanced"], "train.sampler is for text-classification"),
        ("multi-label-classification", ["train.metric=rmse"], "which multi-label-classification does not have"),
        ("regression", ['data.label_separator="|"'], "data.label_separator is for multi-label-classification"),
        ("text-classification", ["train.thresholds=half"], "train.thresholds is for multi-label-classification"),
        ("regression", ["data.folds=3"], "data.folds is for text-classification"),
        (
            "multi-label-classification",
            ["train.combine=soft-vote", "train.seeds=[1, 2]"],
            "train.combine = 'soft-vote' is for text-classification",
        ),
    ],
)
def test_what_a_task_does_not_have_is_refused_while_the_plan_is_made(
    tiny_encoder: Path, tmp_path: Path, task: str, settings: list[str], said: str
) -> None:
    (tmp_path / "rows.csv").write_text("text,label\na,1\nb,2\n", encoding="utf-8")
    path = write_project(tmp_path, tiny_encoder, task, 'train = "rows.csv"')
    with pytest.raises(PlanError) as caught:
        ftx.run(["train"], path, settings=settings)
    assert said in str(caught.value)
    assert any("--set" in hint for problem in caught.value.problems for hint in problem.hints)


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (["augment", "train"], "augment:synonyms"),
        (["train", "distill"], "distill:logits"),
    ],
)
def test_a_step_for_one_label_a_row_is_refused_while_the_plan_is_made(
    tiny_encoder: Path, tmp_path: Path, words: list[str], step: str
) -> None:
    (tmp_path / "rows.csv").write_text("text,label\na,1\nb,2\n", encoding="utf-8")
    path = write_project(tmp_path, tiny_encoder, "regression", 'train = "rows.csv"')
    with pytest.raises(PlanError) as caught:
        ftx.run(words, path)
    refused = [problem for problem in caught.value.problems if problem.where == step]
    assert "does not work for regression, only for text-classification" in str(refused[0])


def test_an_audit_of_numbers_is_refused_before_the_data_are_read(tiny_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\na,1\nb,2\n", encoding="utf-8")
    path = write_project(tmp_path, tiny_encoder, "regression", 'train = "rows.csv"')
    ran = CliRunner().invoke(cli, ["data", "audit", "--config", str(path)])
    assert ran.exit_code == 2
    assert "an audit is for text-classification, and model.task is regression" in ran.output
    assert not (tmp_path / ".ftx" / "runs").exists()


def test_a_report_refuses_several_labels_a_row(multi_label: tuple[Path, RunResult]) -> None:
    root, _ = multi_label
    out = root / "report.html"
    ran = CliRunner().invoke(cli, ["report", "--config", str(root / "ftx.toml"), "--out", str(out)])
    assert (ran.exit_code, out.exists()) == (2, False)
    assert "only text-classification can be reported" in ran.output


def test_card_and_profile_of_a_bundle_speak_of_several_labels(multi_label: tuple[Path, RunResult]) -> None:
    _, result = multi_label
    bundle = last(result, "choose")
    card = (bundle.path / "README.md").read_text(encoding="utf-8")
    assert "Gives a text any number of 3 labels, perhaps none." in card and "accuracy" not in card.lower()
    assert "| variant | Micro F1 | Macro F1 |" in card
    shares = bundle.meta["profile"]["label_shares"]
    assert set(shares) == set(WORDS) and all(0.1 < share < 0.6 for share in shares.values())


@pytest.mark.parametrize(
    "settings",
    [
        ["train.lora_rank=4"],
        ["train.average=last-steps", "train.keep_average=always", "train.average_share=0.5"],
        ["train.seeds=[1, 2]", "train.combine=uniform"],
    ],
)
def test_a_checkpoint_of_numbers_is_in_units_of_the_target_however_it_was_trained(
    tiny_encoder: Path, tmp_path: Path, settings: list[str]
) -> None:
    rows = texts_about(80, 3, lambda source: [source.choice(list(WORDS))])
    value = {"negative": 20.0, "neutral": 50.5, "positive": 90.0}
    table = "".join(f"{text},{value[labels[0]]}\n" for text, labels in rows)
    (tmp_path / "rows.csv").write_text(f"text,label\n{table}", encoding="utf-8")
    path = write_project(tmp_path, tiny_encoder, "regression", 'train = "rows.csv"')
    result = ftx.run(["train"], path, settings=[*LEARN, "train.epochs=3", "train.mixed_precision=fp32", *settings])
    [trained] = [row for row in result.rows if row.step == "train:finetune" and row.split == "validation"]
    said = last(result, "train").manifest.metrics["validation"]["rmse"]
    assert trained.score == pytest.approx(said, rel=1e-3)
    assert 5 < said < 60  # standardised, it would be about 1


@pytest.mark.parametrize(
    ("task", "objective"),
    [("regression", Objective("rmse", True)), ("text-classification", Objective("f1_macro", False))],
)
def test_a_sweep_makes_the_own_metric_of_the_task_best(
    tiny_encoder: Path, tmp_path: Path, task: str, objective: Objective
) -> None:
    (tmp_path / "rows.csv").write_text("text,label\na,1\nb,2\n", encoding="utf-8")
    path = write_project(tmp_path, tiny_encoder, task, 'train = "rows.csv"')
    plugins = PluginManager.load(third_party=False)
    assert choose_objective(None, make_plan(["train"], load_config(path), plugins), plugins) == objective


def test_a_server_answers_several_labels_as_the_predictor_does(multi_label: tuple[Path, RunResult]) -> None:
    assert_served(last(multi_label[1], "choose"))


def assert_served(bundle: Artifact) -> None:
    """The server answers what the predictor does."""
    assert isinstance(bundle, Bundle)
    runtimes = PluginManager.load(third_party=False).runtimes()
    expected = Predictor.load(bundle.path, runtimes=runtimes, variant="onnx-fp32").predict(["love great car"])[0]
    running, stop = start_server({"model": lambda: bundle}, runtimes)
    try:
        found = running.post("/predict", {"inputs": "love great car"}).json
        infer = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["love great car"]}]}
        assert running.post("/v2/models/model/infer", infer).status == 200
        assert running.get("/metrics").status == 200
    finally:
        stop()
    assert [{**entry, "score": 0} for entry in found] == [{**entry, "score": 0} for entry in expected]
    assert [entry["score"] for entry in found] == pytest.approx([entry["score"] for entry in expected], rel=1e-4)
