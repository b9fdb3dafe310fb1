"""`ftx report`: which runs, which file, and what is said where something is wrong with either."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ftx.cli.run_report import report
from ftx.errors import FtxError

FIRST, SECOND = "20260102-030405-00000", "20260102-030406-00000"


@pytest.fixture
def ftx_report(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`ftx_report("RUN", "--md")`: the command in the project whose store this is; its error is raised."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ftx.toml").write_text("seed = 0\n", encoding="utf-8")
    return lambda *arguments: CliRunner().invoke(report, list(arguments), catch_exceptions=False)


def test_the_newest_run_that_measured_something_is_reported_by_default(runs, ftx_report, tmp_path):
    runs.write(FIRST)
    runs.write(SECOND, steps={}, status="failed")
    ran = ftx_report()
    assert FIRST in ran.output and SECOND not in ran.output
    assert f"Run {FIRST}" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_runs_are_named_by_the_beginning_of_their_id_and_shown_once_each_in_that_order(runs, ftx_report, tmp_path):
    runs.write(FIRST)
    runs.write(SECOND)
    ran = ftx_report("20260102-030406", FIRST, "latest", "--json", "--out", "both.html")
    assert json.loads(ran.output) == {"runs": [SECOND, FIRST], "path": str(tmp_path / "both.html")}
    assert not (tmp_path / "report.html").exists()


def test_markdown_goes_to_stdout_or_to_a_file(runs, ftx_report, tmp_path):
    runs.write(FIRST)
    printed = ftx_report("--md").output
    assert printed.startswith("## No loss of accuracy")
    assert list(tmp_path.glob("*.html")) == []
    ftx_report("--md", "--out", "comment.md")
    assert (tmp_path / "comment.md").read_text(encoding="utf-8") == printed
    assert json.loads(ftx_report("--md", "--json").output)["markdown"] == printed


def test_everything_that_is_wrong_is_said_at_once_with_what_to_try(runs, ftx_report, tmp_path):
    runs.write(FIRST)
    runs.write(SECOND)
    with pytest.raises(FtxError) as caught:
        ftx_report("2026", "20260102-030405-00001", "--out", "nowhere/report.html")
    assert "2026 is the beginning of several runs" in caught.value.message
    assert f"there is no run 20260102-030405-00001 (did you mean {FIRST}?)" in caught.value.message
    assert "the folder nowhere does not exist" in caught.value.message
    assert {"list the runs: ftx runs", "make it: mkdir -p nowhere"} <= set(caught.value.hints)
    assert list(tmp_path.glob("*.html")) == []


def test_a_folder_in_the_place_of_the_file_is_refused(runs, ftx_report):
    runs.write(FIRST)
    with pytest.raises(FtxError, match=r"\. is a folder"):
        ftx_report("--out", ".")


def test_without_runs_the_error_says_how_to_start_one(ftx_report):
    with pytest.raises(FtxError, match="there are no runs") as caught:
        ftx_report()
    assert caught.value.hints == ("start one: ftx run train quantize export",)


def test_what_is_missing_is_named_with_the_line_that_installs_it(runs, ftx_report, monkeypatch):
    runs.write(FIRST)
    monkeypatch.setattr("ftx.reporting.find_spec", lambda name: None if name == "jinja2" else object())
    with pytest.raises(FtxError, match="a report needs jinja2") as caught:
        ftx_report()
    assert caught.value.hints == ("install them: pip install 'ftx-toolchain[report]'",)
