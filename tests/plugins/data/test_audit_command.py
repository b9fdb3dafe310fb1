"""The command `ftx data audit`, and its csv as `data.exclude`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from typing import Any

import pytest

from ftx.cli import main

Say = Callable[..., Any]


@pytest.fixture
def say(make_project: Any, make_sentences: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Say:
    """`say("data", "audit")`: exit code, stdout and stderr of a command, in a project with two wrong labels."""
    rows = make_sentences(150, seed=8)
    for place in (10, 20):
        rows[place] = (rows[place][0], "neutral" if rows[place][1] != "neutral" else "negative")
    monkeypatch.chdir(make_project(rows).root)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_marked_rows_of_the_csv_are_left_out_of_the_next_run(say: Say) -> None:
    code, out, err = say("data", "audit", "--out", "audit.csv", "--top", "3", "--split", "train", "--split", "test")
    assert code == 0, err
    with open("audit.csv", encoding="utf-8", newline="") as file:  # noqa: PTH123  relative to the project
        lines = list(csv.DictReader(file))
    first, *_, last = out.splitlines()
    assert first.split()[1] == "rows:"
    assert out.count("  train:") + out.count("  test:") <= 3
    assert "data.exclude=" in last
    lines[0]["exclude"] = "x"
    with open("audit.csv", "w", encoding="utf-8", newline="") as file:  # noqa: PTH123
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    code, out, err = say("run", "data", "--set", 'data.exclude="audit.csv"', "--json")
    assert code == 0, err
    assert json.loads(out)["steps"][-1]["metrics"]["rows"]["excluded"] == 1
    code, _, err = say("data", "audit", "--out", "audit.csv")
    assert (code, "audit.csv is there already" in err) == (2, True)


def test_json_holds_all_rows_and_the_data_set(say: Say) -> None:
    code, out, err = say("data", "audit", "--json", "--folds", "3")
    assert code == 0, err
    found = json.loads(out)
    assert found["rows"] == 108
    assert len(found["data"]) == 64
    assert all(entry["source"] == "train" and entry["reasons"] == "label" for entry in found["entries"])
    assert len(found["entries"]) == found["likely_errors"]


def test_a_checkpoint_judges_only_what_it_did_not_train_on(say: Say) -> None:
    assert say("run", "train", "--quiet")[0] == 0
    code, _, err = say("data", "audit", "--checkpoint", "latest:train")
    assert (code, "it cannot judge them" in err) == (2, True)
    code, out, err = say("data", "audit", "--checkpoint", "latest:train", "--split", "test", "--json")
    assert code == 0, err
    assert json.loads(out)["probabilities"] == "the checkpoint, which these rows did not train"
    code, _, err = say(
        "data", "audit", "--checkpoint", "latest:train", "--split", "test", "--set", "data.test_size=0.3"
    )
    assert (code, "was trained on other data" in err) == (2, True)


def test_a_checkpoint_of_the_rows_and_others_made_from_them_may_judge_the_test_split(say: Say) -> None:
    assert say("run", "augment:noise", "train", "--quiet", "--set", "train.epochs=1")[0] == 0
    code, out, err = say("data", "audit", "--checkpoint", "latest:train", "--split", "test", "--json")
    assert code == 0, err
    assert json.loads(out)["probabilities"] == "the checkpoint, which these rows did not train"


def test_folds_that_a_label_cannot_fill_are_refused_with_what_to_type(say: Say) -> None:
    code, _, err = say("data", "audit", "--folds", "40", "--split", "validation")
    assert code == 2
    assert "40 folds need 40 rows of each label" in err
    assert "--folds 4" in err
