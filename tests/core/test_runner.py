from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ftx import hookimpl
from ftx.errors import ExitCode
from ftx.events import Events
from ftx.planner import make_plan
from ftx.runner import run_plan
from ftx.runs import list_runs
from ftx.store import Store

BUDGET = "[budget]\naccuracy_drop = 0.01\n"


@pytest.fixture
def run(words_plugin, listener):
    """`run(config, *words)`: the result of carrying out those words."""

    def carry_out(config, *words):
        plan = make_plan(words or ["train", "quantize", "export"], config, words_plugin)
        return run_plan(plan, words_plugin, Events([listener]), command="ftx run again")

    return carry_out


def cached(result):
    return [step["cached"] for step in result.record.steps]


def test_a_run_makes_every_artifact_and_keeps_the_scoreboard(run, project):
    result = run(project())
    assert result.status == "done"
    assert [row.step for row in result.rows] == ["train:words", "quantize:words", "export:words", "export:words"]
    assert result.record.artifact["kind"] == "bundle"
    document = result.to_json()
    assert set(document) == {"run", "status", "steps", "scoreboard", "artifact"}
    assert {"step", "key", "cached", "seconds", "artifact", "metrics"} <= set(document["steps"][0])


def test_the_same_run_again_is_all_hits_and_runs_nothing(run, project, calls):
    run(project())
    before = calls()
    again = run(project())
    assert all(cached(again))
    assert calls() == before


def test_a_changed_setting_misses_its_step_and_what_depends_on_it(run, project):
    run(project())
    again = run(project("", "quantize.text=other"))
    hits = {step["step"]: step["cached"] for step in again.record.steps if "evaluate" not in step["step"]}
    assert hits == {"data:words": True, "train:words": True, "quantize:words": False, "export:words": False}


def test_a_changed_model_file_misses_what_reads_it_until_a_step_makes_the_same_again(
    run, project, model_folder, write_weights
):
    run(project())
    write_weights(model_folder, "other weights")
    hits = cached(run(project()))
    assert hits[:2] == [False, False]
    assert all(hits[2:])


def test_the_budget_is_in_no_key_and_is_checked_on_hits_too(run, project):
    assert run(project("", "evaluate.accuracy=0.9")).status == "done"
    result = run(project(BUDGET, "evaluate.accuracy=0.9"))
    assert all(cached(result))
    assert result.status == "budget"
    assert result.error.code == ExitCode.BUDGET
    assert "accuracy_drop is 0.05, the budget allows 0.01" in result.error.message
    assert any("quantize.exclude" in hint for hint in result.error.hints)


def test_what_broke_the_budget_is_kept_for_inspection(run, project):
    result = run(project(BUDGET, "evaluate.accuracy=0.9"))
    assert result.record.artifact["kind"] == "checkpoint"
    assert Path(result.record.artifact["path"]).is_dir()


def test_a_run_within_its_budget_is_done(run, project):
    assert run(project(BUDGET, "evaluate.accuracy=0.945")).status == "done"


def test_a_step_that_fails_leaves_nothing_and_says_how_to_go_on(run, project, calls):
    result = run(project("", "quantize.fail=ftx"))
    assert result.error.code == ExitCode.STEP_FAILED
    assert result.error.hints == ("buy more words", "go on where it stopped: ftx run again")
    store = Store(Path(result.record.artifact["path"]).parent.parent)
    assert list((store.root / "tmp").iterdir()) == []
    assert run(project("", "quantize.fail=none")).status == "done"
    assert calls().count("train:words") == 1


def test_a_failure_is_never_cached(run, project, calls):
    run(project("", "quantize.fail=bug"))
    run(project("", "quantize.fail=bug"))
    assert calls().count("quantize:words") == 2


def test_a_bug_is_called_one_and_says_whose(run, project):
    result = run(project("", "quantize.fail=bug"))
    assert "quantize:words failed: ValueError: a bug" in result.error.message
    assert "the plugin words (words-plugin 1.0)" in result.error.hints[0]
    assert isinstance(result.error.__cause__, ValueError)


def test_an_interrupted_run_says_how_to_go_on(run, project):
    result = run(project("", "quantize.fail=interrupt"))
    assert (result.status, result.error.code) == ("interrupted", ExitCode.INTERRUPTED)
    assert result.error.hints == ("go on where it stopped: ftx run again",)


def test_a_corrupt_artifact_is_warned_about_and_made_again(run, project, listener):
    first = run(project())
    damaged = Path(first.record.steps[1]["artifact"]["path"]) / "words.txt"
    damaged.chmod(0o644)
    damaged.write_text("jello")
    again = run(project())
    assert again.status == "done"
    assert [step["cached"] for step in again.record.steps[:3]] == [True, False, True]
    assert any("damaged" in values["message"] for values in listener.named("step_warning"))
    assert damaged.read_text() == "hello"


def test_warnings_are_shown_again_on_a_hit(run, project, listener):
    run(project("", "quantize.fail=warn"))
    listener.events.clear()
    run(project("", "quantize.fail=warn"))
    assert [values["message"] for values in listener.named("step_warning")] == ["few words"]


def test_figures_that_are_not_finite_are_null(run, project):
    result = run(project())
    assert result.record.steps[1]["metrics"] == {"words": 1, "nan": None}


def test_an_observer_that_fails_never_fails_the_run(words_plugin, run, project):
    class Observer:
        finished: tuple[str, ...] = ()

        @hookimpl
        def ftx_step_finished(self, step, result):
            self.finished += (step,)
            raise RuntimeError("observer")

    observer = Observer()
    words_plugin._pluggy.register(observer, "observer")
    assert run(project()).status == "done"
    assert "train:words" in observer.finished


SCRIPT = """
    import sys
    sys.path.insert(0, {site!r})
    from pathlib import Path
    from ftx.config import load_config
    from ftx.events import Events
    from ftx.planner import make_plan
    from ftx.plugins import PluginManager
    from ftx.runner import run_plan
    plugins = PluginManager.load(built_in=False, third_party=False)
    plugins.add("words", "words_plugin", "words-plugin", "1.0")
    plan = make_plan(["train:countdown"], load_config(Path({config!r}), settings={settings!r}), plugins)
    waiting = lambda name, values: print("waiting", flush=True) if name == "step_waiting" else None
    print(run_plan(plan, plugins, Events([waiting])).to_json()["steps"][1]["metrics"])
"""


def countdown(words_plugin, config, *settings):
    site = str(Path(sys.modules["words_plugin"].__file__).parent)
    script = textwrap.dedent(SCRIPT).format(site=site, config=str(config.path), settings=list(settings))
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


def test_a_killed_step_goes_on_from_its_own_work(words_plugin, project):
    config = project()
    # `die_at` is part of the key, so the same setting is given again: a resumed try does not die.
    killed = countdown(words_plugin, config, "train.die_at=2")
    assert killed.returncode == -signal.SIGKILL
    store = Store(config.root / ".ftx")
    assert [run.status for run in list_runs(store)] == ["killed"]
    resumed = countdown(words_plugin, config, "train.die_at=2")
    assert resumed.stdout.strip() == "{'resumed_at': 2}", resumed.stderr
    assert [store.verify(digest).digest for digest in store.digests()] == store.digests()


def _hold(root: str, key: str, held: multiprocessing.Event) -> None:
    with Store(Path(root)).lock(key):
        held.set()
        time.sleep(1)


def test_two_runs_at_once_on_one_step_make_it_once(words_plugin, project, listener):
    config = project()
    plan = make_plan(["train"], config, words_plugin)
    first = run_plan(plan, words_plugin, Events([listener]))
    key = first.record.steps[1]["key"]
    held = multiprocessing.Event()
    process = multiprocessing.Process(target=_hold, args=(str(plan.store), key, held))
    process.start()
    assert held.wait(10)
    second = run_plan(plan, words_plugin, Events([listener]))
    process.join()
    assert [values["step"] for values in listener.named("step_waiting")] == ["train:words"]
    assert all(step["cached"] for step in second.record.steps)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_one_clear_error_and_the_run_goes_on_after(words_plugin, project, tmp_path, listener):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("this sandbox mounts nothing")
    try:
        config = project(f"store = '{small}/store'\n", f"train.text={'x' * 700_000}")
        plan = make_plan(["train"], config, words_plugin)
        result = run_plan(plan, words_plugin, Events([listener]))
        assert result.error.code == ExitCode.STEP_FAILED
        assert "is full" in result.error.message
        assert any("ftx cache gc" in hint for hint in result.error.hints)
        store = Store(plan.store)
        assert [store.verify(digest).digest for digest in store.digests()] == store.digests()
        plan = make_plan(["train"], project(f"store = '{small}/store'\n"), words_plugin)
        assert run_plan(plan, words_plugin, Events([listener])).status == "done"
    finally:
        subprocess.run(["umount", str(small)], check=True)
