"""What every method of augmentation does with its new rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ftx.artifacts import Artifact, Checkpoint, Manifest
from ftx.errors import FtxError
from ftx.hashing import hash_folder
from ftx.plan import PlannedStep
from ftx.preflight import check_steps
from ftx.step import ModelSettings
from ftx_plugins.augment import probe
from ftx_plugins.augment.check import check
from ftx_plugins.augment.config import AugmentConfig
from ftx_plugins.data.normalise import normalise

Augment = Callable[..., Any]


def test_only_the_training_split_grows_and_its_old_rows_stay_in_front(augment: Augment, tiny_dataset: Artifact) -> None:
    done = augment("noise", copies=2)
    before, after = hash_folder(tiny_dataset.path), hash_folder(done.data.path)
    assert {name for name in before if before[name] != after.get(name)} == {"train.arrow"}
    assert set(after) - set(before) == {"augmentation.json"}
    assert done.metrics["rows_before"] == 96
    assert len(done.rows()) == 96 + done.metrics["added"] > 96 + 150
    assert [row["origin"] for row in done.rows()[:96]] == [""] * 96
    assert done.data.meta["rows"]["train"] == len(done.rows())


def test_a_new_row_tells_from_which_row_and_how_it_came_and_has_its_label(augment: Augment) -> None:
    done = augment("noise")
    originals = {row["row"]: row for row in done.rows() if not row["origin"]}
    added = done.added()
    assert {row["origin"] for row in added} == {"noise"}
    for row in added:
        assert row["label"] == originals[row["row"]]["label"]
        assert set(row["text"].split()) <= set(originals[row["row"]]["text"].split())
    [entry] = json.loads((done.data.path / "augmentation.json").read_text(encoding="utf-8"))
    assert (entry["method"], entry["added"]) == ("noise", len(added))
    first = entry["examples"][0]
    assert (first["from"], first["to"]) == (originals[first["row"]]["text"], added[0]["text"])


def test_no_new_text_is_in_any_split_already_and_none_comes_twice(
    augment: Augment, as_artifact: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    splits = {
        "train": [("good film here", 0, 0), ("film good here", 0, 1), ("bad day now", 1, 2)],
        "validation": [("BAD  now day", 1, 0)],
        "test": [("day bad now", 1, 0)],
    }
    for name, rows in splits.items():
        texts, labels, numbers = zip(*rows, strict=True)
        table = pa.table({"text": list(texts), "label": list(labels), "row": list(numbers)})
        with pa.OSFile(str(folder / f"{name}.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    data = as_artifact(folder, "dataset", labels=["good", "bad"])
    done = augment("noise", data=data, swap=0.5, delete=0, copies=10)
    known = {normalise(row[0]) for rows in splits.values() for row in rows}
    new = [normalise(row["text"]) for row in done.added()]
    assert new
    assert not known & set(new)
    assert len(set(new)) == len(new)
    counts = done.metrics
    assert counts["repeated"] + counts["nothing_to_change"] + counts["added"] == 3 * 10


def test_rows_depend_on_the_seed_alone(augment: Augment) -> None:
    first, again, other = (augment("noise", seed=seed).data for seed in (1, 1, 2))
    assert first.digest == again.digest != other.digest


def test_labels_and_share_choose_the_rows(augment: Augment) -> None:
    done = augment("noise", labels=("negative",), share=0.5)
    assert done.metrics["chosen_rows"] == 16
    assert {row["label"] for row in done.added()} == {1}


def test_an_unknown_label_is_refused_with_those_that_there_are(augment: Augment) -> None:
    with pytest.raises(FtxError, match=r"augment.labels names angry, and the labels are positive, negative, neutral"):
        augment("noise", labels=("angry",))


def test_a_second_method_works_on_rows_of_the_source_alone(augment: Augment) -> None:
    first = augment("noise")
    second = augment("noise", data=first.data, seed=5)
    assert second.metrics["chosen_rows"] == 96
    assert second.rows()[: len(first.rows())] == first.rows()
    report = json.loads((second.data.path / "augmentation.json").read_text(encoding="utf-8"))
    assert [entry["added"] for entry in report] == [first.metrics["added"], second.metrics["added"]]


def test_files_of_the_store_are_shared_and_none_of_them_is_written_into(augment: Augment) -> None:
    first = augment("noise").data
    for file in first.path.iterdir():
        file.chmod(0o444)
    before = hash_folder(first.path)
    second = augment("noise", data=first, seed=5).data
    assert hash_folder(first.path) == before
    shared = {file.name for file in second.path.iterdir() if file.samefile(first.path / file.name)}
    assert shared == {"validation.arrow", "test.arrow"}


def test_the_probe_measures_validation_accuracy_with_and_without_the_new_rows(augment: Augment, recorder: Any) -> None:
    gain = augment("noise", probe_rows=96).metrics["gain"]
    assert (gain["training_rows"], gain["validation_rows"]) == (96, 48)
    assert gain["difference"] == pytest.approx(gain["with"] - gain["without"])
    assert gain["interval"][0] <= gain["difference"] <= gain["interval"][1]
    assert any(text.startswith("probe: validation accuracy") for text in recorder.messages("log"))


@pytest.mark.parametrize(("right_with", "kept"), [(48, True), (24, False)])
def test_if_better_keeps_new_rows_only_where_the_probe_is_better_with_them(
    right_with: int,
    kept: bool,
    augment: Augment,
    tiny_dataset: Artifact,
    monkeypatch: pytest.MonkeyPatch,
    recorder: Any,
) -> None:
    calls = iter((24, right_with))

    def answers(vectors: Any, labels: Any, others: Any, classes: int) -> Any:
        from ftx_plugins.data.splits import load_rows

        truth = load_rows(tiny_dataset, "validation").labels
        given = np.where(np.arange(len(truth)) < next(calls), truth, (truth + 1) % classes)
        return np.eye(classes)[given]

    monkeypatch.setattr(probe, "probe_probabilities", answers)
    done = augment("noise", keep="if_better", probe_rows=96)
    assert done.metrics["kept"] == kept
    assert (done.data.digest == tiny_dataset.digest) != kept
    assert any("were left out" in text for text in recorder.messages("warning")) != kept


def test_new_rows_under_wrong_labels_make_the_probe_worse(
    augment: Augment, tiny_dataset: Artifact, tiny_encoder: Path, make_context: Any
) -> None:
    done = augment("noise", copies=3)
    with pa.ipc.open_stream(pa.memory_map(str(done.data.path / "train.arrow"))) as reader:
        table = reader.read_all()
    new = table.slice(96)
    wrong = pa.array((new["label"].to_numpy() + 1) % 3)
    new = new.set_column(new.schema.get_field_index("label"), "label", wrong)
    model = Checkpoint(tiny_encoder, Manifest("checkpoint", {}))
    gain = probe.measure_gain(table.slice(0, 96), new, model, tiny_dataset, AugmentConfig(), make_context())
    assert gain is not None
    assert gain["verdict"] == "worse"


def test_a_verdict_without_a_probe_is_a_problem_of_the_plan() -> None:
    [problem] = check(AugmentConfig(keep="if_better", probe_rows=0), ModelSettings("tiny"))
    assert "needs the probe, and probe_rows is 0" in str(problem)


@pytest.mark.parametrize("method", ["synonyms", "noise", "masked", "back-translation"])
@pytest.mark.parametrize("task", ["regression", "multi-label-classification"])
def test_a_task_without_one_label_a_row_is_refused_while_the_plan_is_made(
    method: str, task: str, make_context: Any
) -> None:
    plugins = make_context().plugins
    step = plugins.steps()[f"augment:{method}"]
    planned = PlannedStep(step.full_name, step, step.config(), {}, {}, step.gives, plugins.infos[0])
    refused = [problem for problem in check_steps([planned], ModelSettings("tiny", task)) if "work for" in str(problem)]
    assert [problem.message for problem in refused] == [f"does not work for {task}, only for text-classification"]
