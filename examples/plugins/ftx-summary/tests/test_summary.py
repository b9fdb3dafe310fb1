from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from ftx_summary.calibration import expected_calibration_error

PLUGINS = {"summary": "ftx_summary.hooks"}


@pytest.fixture(scope="module")
def project(make_project):
    """A project with one run, of one training."""
    made = make_project(plugins=PLUGINS)
    ran = made.ftx("run", "train", "--quiet")
    assert ran.code == 0, ran.err
    return made


def test_the_plugin_adds_a_command_and_a_metric(isolated_plugins):
    manager = isolated_plugins("ftx_summary.hooks")
    assert "summary" in manager.commands()
    assert not manager.all_metrics()["calibration_error"].higher_is_better


def test_a_model_as_right_as_it_claims_has_no_calibration_error():
    logits = np.log(np.array([[0.75, 0.25]] * 4))
    assert expected_calibration_error(np.array([0, 0, 0, 1]), logits, ["a", "b"]) == pytest.approx(0)


def test_a_model_that_is_sure_and_wrong_has_the_largest():
    logits = np.array([[50.0, 0.0]] * 4)
    assert expected_calibration_error(np.array([1, 1, 1, 1]), logits, ["a", "b"]) == pytest.approx(1)
    assert expected_calibration_error(np.array([0, 0, 1, 1]), logits, ["a", "b"]) == pytest.approx(0.5)


def test_the_summary_shows_each_model_with_the_metric(project):
    ran = project.ftx("summary")
    assert ran.code == 0, ran.err
    first, _, heading, _, *rows = ran.out.splitlines()
    assert first.startswith("Run ")
    assert "`train`, done" in first
    place = [cell.strip() for cell in heading.split("|")].index("calibration error")
    cells = [cell.strip() for cell in rows[0].split("|")]
    assert cells[1] == "train:finetune"
    assert 0 <= float(cells[place]) <= 1


def test_the_summary_as_csv_reads_back(project):
    ran = project.ftx("summary", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert {row["model"] for row in rows} == {"train:finetune"}
    assert all(0 <= float(row["accuracy"]) <= 1 for row in rows)


def test_a_run_that_is_not_there_is_an_error_with_the_next_command(project):
    ran = project.ftx("summary", "19990101")
    assert ran.code == 2
    assert ran.hints[-1] == "list what there is: ftx runs"
