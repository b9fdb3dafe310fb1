"""A run in another process, as far as it has written what it does."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.plugins.ui.conftest import HOSTILE, Going, Site
from tests.plugins.ui.test_pages import row_of, words

from ftx.runs import RunRecord, list_runs, new_run
from ftx_plugins.ui.following import MOST_LINES, MOST_POINTS, Curve, Follower, StepFollowed
from ftx_plugins.ui.run_page import RunPage


def test_progress_loss_and_messages_come_while_the_run_goes_on(site: Site, going: Going) -> None:
    going.train([1.0, 0.8])
    events = f"/runs/{going.record.id}/events"
    first = site.events(events, lambda parts: "now" in parts)
    assert "2 of 10 steps" in words(first["now"]) and "20.0%" in first["now"]
    assert 'aria-label="loss by epoch: training 1.0000 to 0.8000"' in first["now"]
    assert "train:finetune going on" in words(first["steps"]) and "export:bundle to come" in words(first["steps"])

    def tell_more(parts: dict[str, str]) -> bool:
        if "now" in parts and "2 of 10" in words(parts["now"]):
            going.train([1.0, 0.8, 0.5])
            going.tell("step_evaluated", step="train:finetune", epoch=1, epochs=3, figures={"loss": 0.9})
            going.tell("step_log", step="train:finetune", message=f"epoch 1 {HOSTILE}")
        return "3 of 10" in words(parts.get("now", "")) and "epoch 1" in parts.get("log", "")

    more = site.events(events, tell_more)
    assert "to 0.5000" in more["now"] and "validation" in more["now"]
    assert "<script>" not in more["log"] and "&lt;script&gt;" in more["log"]


def test_a_plan_that_is_written_after_the_page_was_opened_is_shown(site: Site, going: Going) -> None:
    plan = site.store.runs / going.record.id / "plan.json"
    kept = plan.read_text()
    plan.unlink()
    page = RunPage(going.record.id, site.store)
    before = page.view()
    assert before is not None and before.facts == ()
    plan.write_text(kept)
    after = page.view()
    assert after is not None and after.facts[0] == ("model", "tiny")
    assert [each.name for each in after.settings][-1] == "export:bundle"


def test_the_stream_ends_with_the_run_and_says_what_came_of_it(site: Site, going: Going) -> None:
    def end(parts: dict[str, str]) -> bool:
        if "state" in parts and going.record.status == "running":
            going.record.status, going.record.finished = "done", going.record.started
            going.record.save(site.store)
        return "over" in parts

    parts = site.events(f"/runs/{going.record.id}/events", end)
    assert ">done<" in parts["state"] and parts["now"].strip() == ""


def test_a_killed_run_shows_as_stopped(site: Site, going: Going) -> None:
    going.train([1.0])
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    going.record.pid = process.pid
    going.record.save(site.store)
    assert "going on" in row_of(site.get("/runs").text, going.record.id)
    process.kill()
    # Not waited for: it is a zombie, whose number is still taken.
    deadline = time.monotonic() + 10
    while "going on" in row_of(site.get("/runs").text, going.record.id) and time.monotonic() < deadline:
        time.sleep(0.05)
    said = row_of(site.get("/runs").text, going.record.id)
    page = words(site.get(f"/runs/{going.record.id}").text)
    process.wait()
    assert "stopped: killed" in said and "1 of 10" not in said
    assert "train:finetune cut off" in page and "of 10 steps" not in page
    assert "over" in site.events(f"/runs/{going.record.id}/events", lambda parts: "over" in parts)


def test_a_process_that_has_the_number_of_a_killed_run_is_not_taken_for_it(site: Site) -> None:
    record: RunRecord = new_run(("train",), None)
    record.started, record.pid = "2026-01-02T03:04:05+00:00", os.getpid()
    record.save(site.store)
    assert [run.status for run in list_runs(site.store)] == ["killed"]


def test_the_list_follows_a_run_that_goes_on(site: Site, going: Going) -> None:
    going.train([1.0, 0.8, 0.7])
    parts = site.events("/runs/events", lambda parts: "lines" in parts)
    assert "train:finetune, 3 of 10 steps" in words(parts["lines"])


def test_a_line_that_is_half_written_waits_for_its_other_half(site: Site, going: Going) -> None:
    path = site.store.runs / going.record.id / "events.jsonl"
    follower = Follower(path.parent)
    follower.read()
    line = b'{"time": 2.0, "event": "step_log", "step": "train:finetune", "message": "whole"}\n'
    with path.open("ab") as file:
        file.write(line[:30])
    assert not follower.read() and follower.lines == []
    with path.open("ab") as file:
        file.write(line[30:])
    assert follower.read() and [said.text for said in follower.lines] == ["whole"]


def test_a_line_that_was_cut_short_hides_none_after_it(site: Site, going: Going) -> None:
    path = site.store.runs / going.record.id / "events.jsonl"
    with path.open("ab") as file:
        file.write(b'{"time": 2.0, "ev\n[1]\n')
    going.tell("step_log", step="train:finetune", message="after it")
    follower = Follower(path.parent)
    follower.read()
    assert [said.text for said in follower.lines] == ["after it"]


def test_what_is_kept_of_a_long_run_is_bounded(site: Site, going: Going) -> None:
    curve = Curve()
    for place in range(10_000):
        curve.add(place, 1 / (place + 1))
    distances = {later[0] - earlier[0] for earlier, later in zip(curve.points, curve.points[1:], strict=False)}
    assert MOST_POINTS / 2 <= len(curve.points) <= MOST_POINTS
    assert len(distances) == 1 and curve.points[-1][0] > 9_000
    follower = Follower(site.store.runs / going.record.id)
    for place in range(MOST_LINES + 50):
        going.tell("step_log", step="train:finetune", message=str(place))
    follower.read()
    assert len(follower.lines) == MOST_LINES and follower.lines[-1].text == str(MOST_LINES + 49)


def test_the_time_left_goes_by_what_is_counted_now() -> None:
    step = StepFollowed("train:finetune", 100.0)
    step.progressed(100.0, {"done": 0, "total": 50, "unit": "rows tokenized", "figures": {}})
    step.progressed(110.0, {"done": 50, "total": 50, "unit": "rows tokenized", "figures": {}})
    step.progressed(111.0, {"done": 10, "total": 100, "unit": "steps", "figures": {}})
    assert step.seconds_left(111.0) is None
    step.progressed(121.0, {"done": 20, "total": 100, "unit": "steps", "figures": {}})
    assert step.rate() == 1.0
    assert step.seconds_left(131.0) == 70.0
    assert step.percent == 20.0
