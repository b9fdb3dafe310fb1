"""`quantize.calibration_data`: what is read, what is refused, and that its content is part of the key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftx.artifacts import Artifact
from ftx.errors import FtxError, Problem
from ftx.hashing import hash_file
from ftx.plan import _config_by_content
from ftx.step import ModelSettings
from ftx.store import Store
from ftx_plugins.quantize import static
from ftx_plugins.quantize.calibration import load_recipe
from ftx_plugins.quantize.calibration_file import check_calibration_data
from ftx_plugins.quantize.config import StaticConfig

ROWS = 24


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    path.write_text("tweet\n" + "".join(f"good car n{row}\n" for row in range(ROWS)) + '""\n', encoding="utf-8")
    return path


def config(file: Path, **settings: Any) -> StaticConfig:
    given = {"calibration_data": str(file), "calibration_text": "tweet", "calibration_rows": 16, **settings}
    return StaticConfig(calibration="min-max", smooth=0, choice_rows=16, **given)


def problems(file: Path, **settings: Any) -> list[Problem]:
    return list(check_calibration_data(config(file, **settings), ModelSettings("tiny")))


def test_its_rows_calibrate_in_place_of_the_training_split(
    file: Path, tiny_checkpoint: Artifact, tiny_dataset: Artifact, run_step: Callable[..., Artifact]
) -> None:
    inputs = {"model": tiny_checkpoint, "data": tiny_dataset}
    made = run_step(static.run, config(file), inputs, "checkpoint")
    assert (made.meta["recipe"]["rows"], made.meta["recipe"]["data"]) == (16, hash_file(file).sha256)
    usual = run_step(static.run, config(file, calibration_data=None), inputs, "checkpoint")
    ranges = [load_recipe(one).inputs for one in (made, usual)]  # type: ignore[union-attr]
    first = "bert.encoder.layer.0.attention.self.query"
    assert (ranges[0][first].low, ranges[0][first].high) != (ranges[1][first].low, ranges[1][first].high)


def test_the_content_of_the_file_is_part_of_the_key(file: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    before = _config_by_content(config(file), store)
    file.write_text("tweet\nother\n", encoding="utf-8")
    assert _config_by_content(config(file), store) != before


def test_a_good_file_and_no_file_have_no_problem(file: Path) -> None:
    assert problems(file) == []
    assert list(check_calibration_data(StaticConfig(), ModelSettings("tiny"))) == []


def test_other_columns_are_named_while_the_plan_is_made(file: Path) -> None:
    [missing, pair] = problems(file, calibration_text="tweets", calibration_text_pair="reply")
    assert "texts.csv has no column 'tweets'; did you mean 'tweet'?" in str(missing)
    assert missing.hints == ('set it: --set quantize.calibration_text="tweet"',)
    assert "has no column 'reply'" in str(pair)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("a.txt", "tweet", "format is not known"), ("a.csv", "", "is empty"), ("a.csv", "tweet\n", "no rows")],
)
def test_files_that_cannot_be_read_are_problems_of_the_plan(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    [problem] = problems(tmp_path / name)
    assert (message in problem.message, problem.where) == (True, "quantize.calibration_data")
    [problem] = problems(tmp_path)
    assert "is a folder" in problem.message


def test_fewer_rows_than_asked_are_an_error_with_the_next_command(
    file: Path, tiny_checkpoint: Artifact, tiny_dataset: Artifact, make_context: Callable[..., Any]
) -> None:
    inputs = {"model": tiny_checkpoint, "data": tiny_dataset}
    with pytest.raises(FtxError, match=r"has 24 rows with texts, and 25 are(.|\n)*quantize\.calibration_rows=24"):
        static.run(config(file, calibration_rows=ROWS + 1), inputs, make_context())


def test_a_column_of_second_texts_for_a_model_of_single_texts_is_an_error(
    file: Path, tiny_checkpoint: Artifact, tiny_dataset: Artifact, make_context: Callable[..., Any]
) -> None:
    inputs = {"model": tiny_checkpoint, "data": tiny_dataset}
    with pytest.raises(FtxError, match=r"trained on single texts(.|\n)*leave out quantize\.calibration_text_pair"):
        static.run(config(file, calibration_text_pair="reply"), inputs, make_context())


def test_json_lines_without_labels_are_read_too(
    tmp_path: Path, tiny_checkpoint: Artifact, tiny_dataset: Artifact, make_context: Callable[..., Any]
) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(f'{{"tweet": "awful phone n{row}"}}\n' for row in range(ROWS)), encoding="utf-8")
    inputs = {"model": tiny_checkpoint, "data": tiny_dataset}
    assert static.run(config(file), inputs, make_context())["calibration_rows"] == 16
