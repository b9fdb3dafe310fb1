"""What the pages show, asked over HTTP."""

from __future__ import annotations

import html
import re

from tests.plugins.report.conftest import HOSTILE as HOSTILE_ROW
from tests.plugins.report.conftest import STEPS, evaluation, model, of_reference, write_run
from tests.plugins.ui.conftest import FIRST, HOSTILE, SECOND, Site

from ftx.runs import find_run


def words(page: str) -> str:
    """What a page says, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def row_of(page: str, run: str) -> str:
    return next(words(row) for row in page.split("<tr>") if f"/runs/{run}" in row)


def test_runs_are_listed_newest_first_with_what_they_lost_and_gained(filled: Site) -> None:
    page = filled.get("/runs").text
    places = [page.index(f'href="/runs/{run}"') for run in ("20260102-030407-00000", SECOND, FIRST)]
    assert places == sorted(places)
    said = row_of(page, SECOND)
    assert "79.0% −1.0 points, within chance" in said
    assert "400 2.0×" in said and "23.0 MB 3.9× smaller" in said
    assert "train:finetune done" in said and "evaluate" not in said


def test_an_empty_store_says_how_to_start(site: Site) -> None:
    assert "ftx run train quantize export" in site.get("/runs").text
    assert "ftx run train quantize export" in site.get("/artifacts").text
    assert "no bundle yet" in site.get("/try").text
    assert "there are none" in words(site.get("/compare").text)


def test_a_run_shows_steps_scoreboard_and_each_setting_with_its_source(filled: Site) -> None:
    page = filled.get(f"/runs/{FIRST}").text
    said = words(page)
    assert "No loss of accuracy that 60 rows can show" in said
    assert "epochs 2 --set" in said and "batch_size 8 default" in said
    assert "accuracy_drop 0.02" in said
    assert "openvino-int8 choose:fastest outcome 79.0% 79.0% 5.00% 6.00 ms 400 23.0 MB" in said
    digest = find_run(FIRST, filled.store).steps[0]["artifact"]["digest"]
    assert f'href="/artifacts/{digest}"' in page


def test_what_was_collected_since_has_no_link(site: Site) -> None:
    record = write_run(site.store, FIRST)
    digest = record.steps[1]["artifact"]["digest"]
    site.store.discard(digest)
    page = site.get(f"/runs/{FIRST}").text
    assert "no longer in the store" in page and f"/artifacts/{digest}" not in page


def test_a_failed_run_says_why_and_what_to_try(filled: Site) -> None:
    page = filled.get("/runs/20260102-030407-00000").text
    assert f"no such column {html.escape(HOSTILE, quote=False)}" in page.replace("&#39;", "'")
    assert "look: ftx plan" in page


def test_the_report_is_made_when_it_is_asked_for(filled: Site) -> None:
    answer = filled.get(f"/report?run={FIRST}")
    assert answer.status == 200 and f"Run {FIRST}" in answer.text
    both = filled.get(f"/report?run={FIRST}&run={SECOND}").text
    assert "2 runs, side by side" in both


def test_a_task_that_cannot_be_reported_is_shown_all_the_same(site: Site) -> None:
    against = {"rmse": {"difference": 0.2, "interval": [0.1, 0.3]}}
    models = [
        {"variant": None, "step": "reference", "rmse": 0.4, "size_mb": 90.0, "rows_per_second": 100.0},
        {"variant": "onnx-int8", "quantized": True, "rmse": 0.6, "size_mb": 30.0, "rows_per_second": 300.0}
        | {"flip_rate": 0.1, "against_reference": against},
    ]
    measured = {"split": "test", "rows": 60, "task": "regression", "models": models, "is_reference": False}
    write_run(site.store, FIRST, {"evaluate:test": measured})
    plan = site.store.runs / FIRST / "plan.json"
    plan.write_text(plan.read_text().replace('"model": "tiny"', '"model": "tiny", "task": "regression"'))
    said = row_of(site.get("/runs").text, FIRST)
    assert "0.6000 +0.2000" in said and "3.0× smaller" in said
    page = words(site.get(f"/runs/{FIRST}").text)
    assert "RMSE" in page and "Report" not in page
    answer = site.get(f"/report?run={FIRST}")
    assert answer.status == 400 and "only text-classification can be reported" in answer.text


def test_two_runs_are_compared_with_a_verdict_and_what_differs(site: Site) -> None:
    write_run(site.store, FIRST)
    write_run(site.store, SECOND, epochs=7)
    said = words(site.get(f"/compare?run={FIRST}&run={SECOND}").text)
    assert "Cannot tell" in said and "both are right on the same rows" in said
    assert "60 rows of the test split" in said
    assert "train:finetune epochs 2 7" in said
    assert "of the validation split" in words(site.get(f"/compare?run={FIRST}&run={SECOND}&split=validation").text)


def test_runs_that_cannot_be_compared_say_why_and_are_side_by_side_all_the_same(site: Site) -> None:
    tested = evaluation("test", of_reference(step="reference"), model("openvino-int8", 0.79))
    write_run(site.store, FIRST, {"evaluate:test": tested})
    write_run(site.store, SECOND, STEPS)
    said = words(site.get(f"/compare?run={FIRST}&run={SECOND}").text)
    assert "different data" in said and f"ftx eval {FIRST}" in said
    assert "Side by side" in said


def test_the_same_run_twice_is_not_compared(filled: Site) -> None:
    assert "Both are the same run" in filled.get(f"/compare?run={FIRST}&run={FIRST}").text


def test_of_more_than_two_runs_the_first_two_are_compared_and_that_is_said(filled: Site) -> None:
    said = words(filled.get(f"/compare?run={FIRST}&run={SECOND}&run=20260102-030407-00000").text)
    assert "Cannot tell" in said and "these are the first two" in said


def test_an_artifact_shows_what_it_was_made_of_what_it_went_into_and_its_files(filled: Site) -> None:
    steps = {step["step"]: step["artifact"]["digest"] for step in find_run(FIRST, filled.store).steps}
    page = filled.get(f"/artifacts/{steps['prune:structured']}").text
    said = words(page)
    assert f'href="/artifacts/{steps["train:finetune"]}"' in page
    assert f'href="/artifacts/{steps["quantize:auto"]}"' in page
    assert steps["prune:structured"] in said and "made.txt" in said and "flops_share 0.5" in said
    assert f'href="/runs/{FIRST}"' in page
    saved = filled.get(f"/artifacts/{steps['prune:structured']}/files/made.txt")
    assert saved.text == f"{FIRST} prune:structured"
    assert "attachment" in saved.headers["content-disposition"]


def test_a_damaged_artifact_is_listed_with_what_is_wrong(site: Site) -> None:
    record = write_run(site.store, FIRST)
    digest = record.steps[0]["artifact"]["digest"]
    manifest = site.store.objects / digest / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text(manifest.read_text().replace('"kind": "dataset"', '"kind": "bundle"'))
    said = words(site.get("/artifacts").text)
    assert f"{digest[:12]} damaged" in said and "changed after it was written" in said
    assert site.get(f"/artifacts/{digest}").status == 400


def test_what_is_not_there_is_said_with_the_way_back(filled: Site) -> None:
    for path in ("/runs/nothing", "/artifacts/" + "0" * 64, "/nowhere", "/compare?run=a&run=b", "/report?run=x"):
        answer = filled.get(path)
        assert answer.status == 404, path
        assert "This cannot be shown" in answer.text and 'href="/runs"' in answer.text
    assert filled.get("/compare?split=train").status == 400


def test_texts_of_rows_are_escaped_in_the_report(filled: Site) -> None:
    page = filled.get(f"/report?run={FIRST}").text
    assert HOSTILE_ROW not in page and "&lt;img src=x" in page


def test_a_run_of_another_version_hides_no_other_and_its_page_says_so(site: Site) -> None:
    write_run(site.store, FIRST)
    write_run(site.store, SECOND)
    plan = site.store.runs / SECOND / "plan.json"
    plan.write_text(plan.read_text().replace('"budget": {}', '"budget": {"of_the_future": 1}'))
    page = site.get("/runs").text
    assert f"/runs/{FIRST}" in page and f"/runs/{SECOND}" not in page
    answer = site.get(f"/runs/{SECOND}")
    assert answer.status == 400 and "written by another version of ftx" in answer.text


def test_a_run_whose_plan_was_not_kept_or_was_cut_short_is_shown(site: Site) -> None:
    write_run(site.store, FIRST)
    write_run(site.store, SECOND)
    (site.store.runs / FIRST / "plan.json").unlink()
    (site.store.runs / SECOND / "plan.json").write_text('{"model": "ti')
    for run in (FIRST, SECOND):
        assert "train:finetune done" in row_of(site.get("/runs").text, run)
        assert "Scoreboard" in site.get(f"/runs/{run}").text
