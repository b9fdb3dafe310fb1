"""`ftx plugins check`: the contract, held against the steps of what is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftx.testing import CLAUSES

TUTORIAL = (Path(__file__).parents[2] / "docs" / "plugins-tutorial.md").read_text(encoding="utf-8")
MESSY = """
from ftx import Checkpoint, Step, StepConfig, hookimpl
from pydantic import Field
import numpy

class Empty(StepConfig):
    pass

class Demanding(StepConfig):
    place: str = Field(description="A place")

@hookimpl
def ftx_steps():
    for name, config in (("messy", Empty), ("demanding", Demanding)):
        yield Step(name=name, stage="messy", summary="x", run="messy_plugin:run", config=config,
                   takes={"model": Checkpoint}, gives="model")

def run(config, inputs, context):
    return {}
"""


@pytest.fixture
def project(make_project, tmp_path, monkeypatch):
    """A project with three plugins: one that keeps the contract, one that does not, and one that does not load."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "frozen"))
    site = tmp_path / "site"
    site.mkdir()
    (site / "messy_plugin.py").write_text(MESSY, encoding="utf-8")
    (site / "torn_plugin.py").write_text("raise RuntimeError('torn')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    return make_project(plugins={"frozen": "ftx_frozen_api1", "messy": "messy_plugin", "torn": "torn_plugin"})


def test_each_step_of_third_parties_is_reported_with_what_is_wrong(project):
    ran = project.ftx("plugins", "check", "--no-kill", "--json")
    assert ran.code == 1, ran.err
    checked = {each["step"]: each for each in ran.json["checked"]}
    assert set(checked) == {"", "stamp:text", "messy:messy", "messy:demanding"}
    assert checked["stamp:text"]["problems"] == []
    assert [problem.split(":")[0] for problem in checked["messy:messy"]["problems"]] == ["light"]
    assert checked["messy:demanding"]["partly"] == "not run: place must be set"
    assert checked[""]["problems"] == ["does not load: RuntimeError: torn"]
    assert ran.json["failed"] == 3


def test_one_step_is_checked_by_its_name_and_a_kill_included(project):
    ran = project.ftx("plugins", "check", "stamp:text")
    assert (ran.code, ran.out) == (0, "stamp:text, of frozen (ftx-frozen-api1 0): ok\n"), ran.err


def test_a_name_that_nothing_has_is_an_error_with_the_next_command(project):
    ran = project.ftx("plugins", "check", "nonsense")
    assert ran.code == 2
    assert ran.hints == ["see what there is: ftx plugins"]


def test_the_tutorial_lists_the_clauses_of_the_contract():
    assert all(f"| {clause} | {expected} |" in TUTORIAL for clause, expected in CLAUSES.items())
