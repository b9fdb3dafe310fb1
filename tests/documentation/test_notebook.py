"""Runs and reports in Jupyter: what they show of themselves, and the notebook in examples/, executed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from ftx.reporting import Report
from ftx.runner import RunResult
from ftx.runs import RunRecord
from ftx.scoreboard import as_json, rows_of

ROOT = Path(__file__).parents[2]
MODEL = {"variant": "onnx-int8", "accuracy": 0.75, "f1_macro": 0.5, "flip_rate": 0.0125, "quantized": True}


def record(**more: Any) -> RunRecord:
    made = RunRecord("20260102-030405-006aa", ("train",), None, "2026-01-02T03:04:05+00:00", status="done", **more)
    metrics = {"split": "test", "rows": 80, "models": [MODEL, MODEL | {"variant": None, "flip_rate": None}]}
    made.scoreboard = as_json(rows_of("export:<bundle>", metrics))
    artifact = {"digest": "ab" * 32, "kind": "checkpoint", "path": "/a/b"}
    made.steps = [{"step": "train:finetune", "cached": False, "seconds": 1.234, "artifact": artifact}]
    made.steps += [{"step": "evaluate:test", "cached": True, "seconds": 0.0, "artifact": None}]
    return made


def test_a_run_shows_its_scoreboard_and_its_steps():
    shown = record()._repr_html_()
    assert "test split, 80 rows" in shown
    assert re.findall(r"<td[^>]*>(0.7500|1.25%|onnx-int8|torch|hit|1.2|abababababab)</td>", shown) == [
        *("onnx-int8", "0.7500", "1.25%", "torch", "0.7500"),
        *("1.2", "abababababab", "hit"),
    ]
    assert shown == RunResult(record(), [])._repr_html_()


def test_names_are_no_markup():
    assert "export:&lt;bundle&gt;" in record()._repr_html_()
    assert "<bundle>" not in record()._repr_html_()


def test_a_run_that_failed_shows_why_and_what_to_do():
    error = {"code": 3, "message": "flips 2 > 1", "hints": ["allow <more>"]}
    shown = record(error=error)._repr_html_()
    assert "<p>flips 2 &gt; 1</p><ul><li>allow &lt;more&gt;</li></ul>" in shown


def test_a_report_shows_itself_in_a_frame_that_cannot_reach_the_notebook(tmp_path):
    report = Report(("a",), '<p title="x">&amp;</p>')
    shown = report._repr_html_()
    assert 'srcdoc="&lt;p title=&quot;x&quot;&gt;&amp;amp;&lt;/p&gt;"' in shown
    assert 'sandbox="allow-scripts"' in shown
    assert report.save(tmp_path / "report.html").read_text(encoding="utf-8") == report.html


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_notebook_can_be_executed_from_top_to_bottom(tiny_encoder, tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    shutil.copytree(ROOT / "examples" / "tweets", tmp_path / "tweets", ignore=shutil.ignore_patterns(".ftx"))
    tiny = {"FTX_MODEL__NAME": str(tiny_encoder), "FTX_BUDGET__ACCURACY_DROP": "0.5", "FTX_CHOOSE__SECONDS": "0.02"}
    tiny |= {f"FTX_DATA__MAX_{split}_ROWS": "60" for split in ("TRAIN", "VALIDATION", "TEST")}
    tiny |= {"FTX_QUANTIZE__FLIP_RATE": "1.0", "FTX_QUANTIZE__ACCURACY_DROP": "1.0", "FTX_EXPORT__PARITY_TEXTS": "8"}
    tiny |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "IPYTHONDIR": str(tmp_path / "ipython")}
    for name, value in tiny.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pages = [output.data["text/html"] for output in outputs if output.output_type == "execute_result"]
    assert "test split, 60 rows" in pages[0]
    assert pages[1].startswith("<iframe")
    texts = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    assert "train:finetune hit" in texts and "times smaller" in texts
    assert "unknown step quantise (did you mean quantize?)" in texts and "train.epoch" in texts


def test_the_notebook_is_kept_without_its_outputs():
    import nbformat

    notebook = nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert {cell.execution_count for cell in code} == {None}
