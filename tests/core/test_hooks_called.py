"""Hooks as a run calls them: each observer with what it is promised, and a plugin's serve step."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from ftx.errors import ExitCode
from ftx.events import Events
from ftx.planner import make_plan
from ftx.plugins import PluginManager
from ftx.runner import run_plan

OBSERVER = """
from ftx import hookimpl

seen = []

@hookimpl
def ftx_run_started(run, steps):
    seen.append(("run_started", steps))

@hookimpl
def ftx_step_started(run, step, key):
    seen.append(("step_started", step, len(key)))

@hookimpl
def ftx_step_progress(step, progress):
    seen.append(("step_progress", step, progress["done"], progress["total"], progress["unit"]))

@hookimpl
def ftx_step_finished(step, result):
    artifact = result["artifact"] and result["artifact"]["kind"]
    seen.append(("step_finished", step, result["cached"], result["metrics"].get("words"), artifact))

@hookimpl
def ftx_step_failed(step, error):
    seen.append(("step_failed", step, error))

@hookimpl
def ftx_run_finished(run, status):
    seen.append(("run_finished", status))
"""


@pytest.fixture
def observe(words_plugin, project, install):
    """`observe(words, *settings)`: what an installed observer saw of a run of the word steps."""
    import sys

    install("watch", OBSERVER)
    words_plugin.add("watch", "ftx_watch", "ftx-watch", "2.1")
    assert not words_plugin.broken()

    def run(words, *settings):
        plan = make_plan(words, project("", *settings), words_plugin)
        seen = sys.modules["ftx_watch"].seen
        seen.clear()
        run_plan(plan, words_plugin, Events([]))
        return list(seen)

    return run


def test_an_observer_sees_a_run_from_its_start_to_its_end(observe):
    seen = observe(["train"])
    assert seen[0] == ("run_started", ("data:words", "train:words", "evaluate:validation", "evaluate:test"))
    assert seen[-1] == ("run_finished", "done")
    place = seen.index(("step_started", "train:words", 64))
    assert seen[place + 1 : place + 3] == [
        ("step_progress", "train:words", 1, 2, "words"),
        ("step_finished", "train:words", False, 1, "checkpoint"),
    ]
    again = observe(["train"])
    assert ("step_finished", "train:words", True, 1, "checkpoint") in again
    assert not [event for event in again if event[0] == "step_progress"]


def test_an_observer_is_told_of_a_failure_in_the_words_that_the_user_sees(observe):
    seen = observe(["train"], "train.fail=ftx")
    assert seen[-2:] == [("step_failed", "train:words", "the words ran out"), ("run_finished", "failed")]


def test_a_plugins_serve_step_runs_each_time(install, words_plugin, project):
    install(
        "queue",
        """
        from ftx import Bundle, Step, StepConfig, hookimpl

        def run(config, inputs, context):
            return {"answered": len(list(inputs["model"].path.iterdir()))}

        @hookimpl
        def ftx_serve():
            yield Step(
                name="queue", stage="serve", summary="answer from a queue", cached=False, takes={"model": Bundle},
                gives=None, config=StepConfig, run="ftx_queue:run",
            )
        """,
    )
    words_plugin.add("queue", "ftx_queue", "ftx-queue", "2.1")
    for _ in range(2):
        plan = make_plan(["train", "export", "serve"], project(), words_plugin)
        result = run_plan(plan, words_plugin, Events([]))
        assert result.error is None
        (served,) = [step for step in result.record.steps if step["step"] == "serve:queue"]
        assert served["metrics"]["answered"] > 0
        assert not served["cached"]


def test_every_installed_hook_of_a_plugin_that_only_observes_adds_nothing(install):
    install("watch", OBSERVER)
    manager = PluginManager.load(built_in=False)
    assert not (manager.broken() or manager.steps() or manager.all_metrics() or manager.runtimes())


@pytest.mark.parametrize(("exit_code", "expected"), [(0, None), (1, ExitCode.BUDGET), (4, ExitCode.STEP_FAILED)])
def test_a_load_test_finds_the_server_in_the_background_and_is_kept_whatever_it_says(
    install, words_plugin, project, exit_code, expected
):
    install(
        "load",
        f"""
        from contextlib import contextmanager
        from ftx import Bundle, LoadTest, Step, StepConfig, hookimpl

        running = []

        @contextmanager
        def start(config, inputs, context):
            running.append("server")
            try:
                yield {{"url": "http://here"}}
            finally:
                running.clear()

        def run(config, inputs, context):
            (context.out / "seen.txt").write_text(f"{{running}} {{context.serving['url']}}")
            return {{"exit_code": {exit_code}, "verdict": "v", "says": "s"}}

        @hookimpl
        def ftx_steps():
            yield Step(
                name="words", stage="serve", summary="", cached=False, takes={{"model": Bundle}}, gives=None,
                config=StepConfig, run="x:y", background="ftx_load:start",
            )
            yield Step(
                name="words", stage="loadtest", summary="", cached=False, takes={{"model": Bundle}}, gives=LoadTest,
                config=StepConfig, run="ftx_load:run",
            )
        """,
    )
    words_plugin.add("load", "ftx_load", "ftx-load", "1.0")
    plan = make_plan(["train", "export", "serve", "loadtest"], project(), words_plugin)
    result = run_plan(plan, words_plugin, Events([]))
    assert (result.error.code if result.error else None) == expected
    tested = result.record.steps[-1]
    assert (Path(tested["artifact"]["path"]) / "seen.txt").read_text() == "['server'] http://here"
    assert importlib.import_module("ftx_load").running == []


def test_a_server_in_the_background_is_no_hit_although_its_step_was_kept_before(install, words_plugin, project):
    install(
        "kept",
        """
        from contextlib import contextmanager
        from ftx import Bundle, LoadTest, Step, StepConfig, hookimpl

        @contextmanager
        def start(config, inputs, context):
            yield {"url": "http://here"}

        def run(config, inputs, context):
            return {}

        @hookimpl
        def ftx_steps():
            yield Step(
                name="words", stage="serve", summary="", takes={"model": Bundle}, gives=None, config=StepConfig,
                run="ftx_kept:run", background="ftx_kept:start",
            )
            yield Step(
                name="words", stage="loadtest", summary="", cached=False, takes={"model": Bundle}, gives=LoadTest,
                config=StepConfig, run="ftx_kept:run",
            )
        """,
    )
    words_plugin.add("kept", "ftx_kept", "ftx-kept", "1.0")
    config = project()
    for words in (["train", "export", "serve"], ["train", "export", "serve", "loadtest"]):
        result = run_plan(make_plan(words, config, words_plugin), words_plugin, Events([]))
        assert result.error is None
    (served,) = [step for step in result.record.steps if step["step"] == "serve:words"]
    assert not served["cached"]
