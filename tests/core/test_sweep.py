"""Sweeps over steps that need no machine learning: what is tried, what is best, what goes on after a break."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ftx.cli.options import open_store
from ftx.cli.sweep import as_toml
from ftx.config import load_config
from ftx.errors import ExitCode, FtxError, PlanError
from ftx.plugins import PluginManager
from ftx.runs import find_artifact, list_runs
from ftx.sweep.space import Choices, Interval, read_settings
from ftx.sweep.sweep import SweepResult, Watcher, carry_out, plan_sweep

LEARNING_MODULE = '''
"""A training whose quality is its setting, which it reaches epoch by epoch."""
import json, os
from pydantic import Field
from ftx import Checkpoint, Dataset, FtxError, Step, StepConfig, hookimpl
from words_plugin import _count


class LearnConfig(StepConfig):
    quality: float = Field(0.5, ge=0, le=1, description="Reached at the end")
    epochs: int = Field(4, ge=1, le=9, description="Epochs")
    metric: str = Field("accuracy", description="What counts")
    fail: bool = Field(False, description="Whether to fail")
    interrupt: str = Field("", description="A file: without it the second epoch is interrupted, and it is written")
    kind: str = Field("plain", description="A kind")


def run(config, inputs, context):
    _count(context)
    if config.fail:
        raise FtxError("it diverged", "lower it", code=1)
    for epoch in range(1, config.epochs + 1):
        if epoch == 2 and config.interrupt and not os.path.exists(config.interrupt):
            open(config.interrupt, "w").close()
            raise KeyboardInterrupt
        (context.work / "epochs").write_text(str(epoch))
        accuracy = config.quality * epoch / config.epochs
        context.evaluated(epoch, config.epochs, accuracy=accuracy, loss=1 - config.quality)
    (context.out / "weights").write_text(f"{config.quality} {config.kind} {config.epochs}")
    return {"validation": {"loss": 1 - config.quality}, "quality": config.quality}


@hookimpl
def ftx_train():
    yield Step(name="learn", stage="train", summary="learn", run="learning_plugin:run", config=LearnConfig,
               takes={"model": Checkpoint, "data": Dataset}, gives=Checkpoint)
'''
TOML = "[train]\nmethod = 'learn'\n"


@pytest.fixture
def plugins(words_plugin: PluginManager, tmp_path: Path) -> Iterator[PluginManager]:
    (tmp_path / "site" / "learning_plugin.py").write_text(LEARNING_MODULE, encoding="utf-8")
    words_plugin.add("learning", "learning_plugin", "words-plugin", "1.0")
    assert not words_plugin.broken()
    yield words_plugin
    sys.modules.pop("learning_plugin", None)


class Sweeps:
    """Carries out sweeps of one project, and keeps which trials were begun."""

    def __init__(self, path: Path, plugins: PluginManager) -> None:
        self.path, self.plugins = path, plugins
        self.begun: list[int] = []
        self.events: list[tuple[str, Any]] = []

    def __call__(self, *words: str, sets: tuple[str, ...], **options: Any) -> SweepResult:
        chosen = {"objective": None, "trials": 6, "stop_early": True, **options}
        terms = plan_sweep(words, self.path, sets, plugins=self.plugins, command="ftx sweep", **chosen)
        return carry_out(terms, self.plugins, self._watcher())

    @property
    def store(self) -> Any:
        return open_store(load_config(self.path))

    def _watcher(self) -> Watcher:
        @contextmanager
        def listen() -> Iterator[list[Callable[..., None]]]:
            yield [lambda name, values: self.events.append((name, dict(values)))]

        return Watcher(lambda trial, total: self.begun.append(trial.number), lambda trial: None, listen)


@pytest.fixture
def sweeps(project: Callable[..., Any], plugins: PluginManager) -> Sweeps:
    return Sweeps(project(TOML).path, plugins)


def test_the_best_trial_is_the_one_with_the_best_objective_and_its_run_is_the_latest(sweeps):
    result = sweeps("train", "prune", sets=("evaluate.accuracy=0.1..0.9", "train.epochs=1..3"))
    assert result.error is None and result.best is not None and result.run is not None
    assert result.best.figure == max(trial.figure for trial in result.trials)
    assert len({trial.figure for trial in result.trials}) == 6
    newest, *others = list_runs(sweeps.store)
    assert newest.id == result.run.record.id and len(others) == 6
    assert find_artifact("latest:prune", sweeps.store).digest == result.run.record.artifact["digest"]
    assert result.run.rows[-1].accuracy == result.best.figure


def test_only_the_last_run_looks_at_the_test_split_and_its_other_steps_are_hits(sweeps, calls):
    sweeps("train", sets=("train.quality=0.1..0.9",), objective="loss")
    newest, *trials = list_runs(sweeps.store)
    assert all("evaluate:test" not in [step["step"] for step in run.steps] for run in trials)
    assert {step["step"]: step["cached"] for step in newest.steps} == {
        "data:words": True, "train:learn": True, "evaluate:validation": True, "evaluate:test": False,
    }  # fmt: skip
    assert calls().count("train:learn") == len({trial.values["train.quality"] for trial in sweeps_trials(sweeps)})


def sweeps_trials(sweeps: Sweeps) -> list[Any]:
    from ftx.sweep.trials import Trials

    [folder] = (sweeps.store.root / "sweeps").iterdir()
    return Trials(sweeps.store, folder.name).all()


@pytest.mark.slow
def test_the_search_comes_closer_to_the_best_than_its_random_beginning(sweeps):
    result = sweeps("train", sets=("train.quality=0.0..1.0",), objective="loss", trials=20, stop_early=False)
    random_ones = [trial.figure for trial in result.trials[:5]]
    assert result.best is not None and result.best.figure is not None
    assert result.best.figure < min(random_ones)
    later = [trial.figure for trial in result.trials[10:]]
    assert sum(later) / len(later) < sum(random_ones) / 5


def test_a_trial_worse_than_the_median_is_stopped_and_leaves_no_work_behind(sweeps):
    result = sweeps("train", sets=("train.quality=0.0..1.0",), trials=12)
    stopped = [trial for trial in result.trials if trial.state == "stopped"]
    assert stopped and all(len(trial.epochs) < 4 for trial in stopped)
    done = [trial for trial in result.trials if trial.state == "done"]
    assert all(len(trial.epochs) == 4 for trial in done)
    for trial in stopped:
        last = max(trial.epochs)
        others = [each.epochs[last] for each in done if each.number < trial.number]
        assert trial.epochs[last] < statistics.median(others)
    states = {run.id: run.status for run in list_runs(sweeps.store)}
    assert {states[trial.run] for trial in stopped} == {"stopped"}
    assert {states[trial.run] for trial in done} == {"done"}
    assert list((sweeps.store.root / "work").iterdir()) == []
    logs = [(sweeps.store.runs / trial.run / "events.jsonl").read_text(encoding="utf-8") for trial in stopped]
    assert not any("step_failed" in log for log in logs)


def test_without_early_stops_every_trial_comes_to_its_end(sweeps):
    result = sweeps("train", sets=("train.quality=0.0..1.0",), trials=8, stop_early=False)
    assert [trial.state for trial in result.trials] == ["done"] * 8


def test_the_same_command_again_tries_nothing_again(sweeps, calls):
    first = sweeps("train", sets=("train.quality=0.0..1.0",))
    before = calls()
    second = sweeps("train", sets=("train.quality=0.0..1.0",))
    assert sweeps.begun == [1, 2, 3, 4, 5, 6]
    assert calls() == before
    assert second.trials == first.trials and second.best == first.best and second.error is None


@pytest.mark.slow
def test_more_trials_go_on_as_if_all_had_been_asked_for_at_once(sweeps, project, plugins):
    ranges = ("train.quality=0.0..1.0", "train.kind=a|b")
    sweeps("train", sets=ranges, trials=5)
    continued = sweeps("train", sets=ranges, trials=9)
    assert sweeps.begun == list(range(1, 10))
    [folder] = (sweeps.store.root / "sweeps").iterdir()
    (folder / "trials.json").unlink()
    whole = sweeps("train", sets=ranges, trials=9)
    assert [trial.values for trial in whole.trials] == [trial.values for trial in continued.trials]


def test_an_interrupted_sweep_keeps_what_is_done_and_goes_on_with_the_same_trial(sweeps, tmp_path):
    ranges = ("train.quality=0.0..1.0", f"train.interrupt={tmp_path / 'once'}")
    sweeps("train", sets=("train.quality=0.0..1.0",), trials=1)
    broken = sweeps("train", sets=ranges, trials=3)
    assert broken.error is not None and broken.error.code == ExitCode.INTERRUPTED
    assert broken.error.hints[-1].endswith("ftx sweep")
    [begun] = broken.trials
    assert begun.state == "running" and list(begun.epochs) == [1] and begun.run
    again = sweeps("train", sets=ranges, trials=3)
    assert again.error is None
    assert [trial.state for trial in again.trials] == ["done"] * 3
    assert again.trials[0].values == begun.values


def test_other_ranges_or_another_objective_are_another_sweep(sweeps):
    sweeps("train", sets=("train.quality=0.0..1.0",), trials=2)
    sweeps("train", sets=("train.quality=0.0..0.9",), trials=2)
    sweeps("train", sets=("train.quality=0.0..1.0",), trials=2, objective="loss")
    sweeps("train", sets=("train.quality=0.0..1.0", "data.rows=7"), trials=2)
    assert len(list((sweeps.store.root / "sweeps").iterdir())) == 4


def test_few_combinations_are_tried_once_each(sweeps):
    result = sweeps("train", sets=("train.epochs=1..2", "train.kind=a|b|c"), trials=50)
    tried = [(trial.values["train.epochs"], trial.values["train.kind"]) for trial in result.trials]
    assert sorted(tried) == [(epochs, kind) for epochs in "12" for kind in "abc"]


def test_a_trial_beyond_the_budget_is_never_the_best(sweeps):
    sets = ("evaluate.accuracy=0.5..0.94", "budget.accuracy_drop=0.3")
    result = sweeps("train", "prune", sets=sets, objective="accuracy", trials=8)
    broken = [trial for trial in result.trials if trial.state == "budget"]
    assert broken and result.error is None
    for trial in broken:
        drop = 0.95 - float(trial.values["evaluate.accuracy"])
        assert drop > 0.3 and math.isclose(trial.excess, drop / 0.3 - 1, rel_tol=1e-6)
    assert result.best.figure >= 0.65 and result.best.state == "done"


def test_a_model_that_is_better_but_beyond_the_budget_loses_to_one_within(sweeps):
    sets = ("evaluate.accuracy=0.5..0.94", "budget.accuracy_drop=0.3")
    result = sweeps("train", "prune", sets=sets, objective="loss", trials=6)
    # The loss is the same for all: without the budget the first trial would do.
    assert result.best.state == "done"
    assert {trial.state for trial in result.trials} == {"done", "budget"}


def test_where_all_break_the_budget_the_nearest_is_named(sweeps):
    sets = ("evaluate.accuracy=0.5..0.9", "budget.accuracy_drop=0.01")
    result = sweeps("train", "prune", sets=sets, trials=4)
    nearest = max(result.trials, key=lambda trial: float(trial.values["evaluate.accuracy"]))
    assert result.error.code == ExitCode.BUDGET and result.best is None and result.run is None
    assert f"the nearest is trial {nearest.number}: evaluate.accuracy=" in result.error.message
    assert any("--set budget.accuracy_drop=" in hint for hint in result.error.hints)


def test_trials_that_fail_do_not_end_the_sweep_unless_they_follow_one_another(sweeps):
    result = sweeps("train", sets=("train.fail=false|true", "train.epochs=1..2"), trials=4)
    assert sorted(trial.state for trial in result.trials) == ["done", "done", "failed", "failed"]
    assert result.best.values["train.fail"] == "false" and result.error is None
    hopeless = sweeps("train", sets=("train.quality=0.0..1.0", "train.fail=true"), trials=9)
    assert len(hopeless.trials) == 3
    assert hopeless.error.code == ExitCode.STEP_FAILED and "it diverged" in hopeless.error.message


def test_an_objective_that_the_plan_does_not_measure_ends_the_sweep(sweeps):
    result = sweeps("train", sets=("train.quality=0.0..1.0",), objective="p95_ms")
    assert result.error.code == ExitCode.USER and "p95_ms is not measured" in result.error.message


def test_every_problem_of_the_ranges_is_reported_at_once(sweeps):
    sets = (
        "train.quality=0.9..0.1",
        "train.epochs=1..four",
        "train.kind=a||b",
        "train.learning_rat=1..2",
        "budget.flip_rate=0.1..0.2",
        "evaluate.accuracy=0..1:log",
        "data.rows=1..2:sqrt",
    )
    with pytest.raises(PlanError) as raised:
        sweeps("train", sets=sets, objective="acuracy")
    for said in (
        "0.9 is not below 0.1",
        "'four' is no number",
        "a choice is empty",
        "unknown setting train.learning_rat",
        "budget.flip_rate is the same for the whole sweep",
        "begins above 0",
        "'sqrt' is no scale",
    ):
        assert said in raised.value.message
    assert raised.value.code == ExitCode.USER and not (sweeps.store.root / "runs").exists()


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (("train.quality=0.5..1.5",), "train.quality = 1.5 (--set)"),
        (("train.kind=a|b", "train.epochs=0..4"), "train.epochs = 0 (--set)"),
        (("train.epochs=1.5..4.5",), "train.epochs = 1.5 (--set)"),
        (("train.quality=0.5",), "nothing to search for"),
        (("train.epochs=1..3", "train.epochs=2"), "train.epochs is set more than once"),
        (("train.kind=a|a",), "a is named twice"),
    ],
)
def test_a_range_that_its_setting_cannot_take_is_found_before_anything_runs(sweeps, sets, said):
    with pytest.raises(PlanError, match="nothing was run") as raised:
        sweeps("train", sets=sets)
    assert said in raised.value.message


def test_an_unknown_objective_is_named_with_the_nearest(sweeps):
    with pytest.raises(PlanError, match="did you mean accuracy"):
        sweeps("train", sets=("train.epochs=1..3",), objective="acuracy")


def test_whole_ends_mean_numbers_in_between_where_the_setting_takes_them(plugins):
    asked, problems = read_settings(("train.quality=0..1", "train.epochs=1..9:log"), plugins)
    assert problems == []
    assert asked.spaces == (
        Interval("train.quality", 0, 1, integer=False, log=False),
        Interval("train.epochs", 1, 9, integer=True, log=True),
    )


def test_values_with_dots_and_quotes_are_values(plugins):
    sets = ("data.train=../rows.csv", 'data.separator="|"', "train.x=[1, 2]", "train.y=a|b", "train.z=[1]|[2]")
    asked, problems = read_settings(sets, plugins)
    assert problems == []
    assert asked.fixed == sets[:3]
    assert asked.spaces == (Choices("train.y", ("a", "b")), Choices("train.z", ("[1]", "[2]")))


def test_drawn_numbers_are_short_and_stay_within_their_range():
    interval = Interval("train.learning_rate", 1.00005e-5, 2e-5, integer=False, log=True)
    assert interval.text(1.23456789e-5) == "1.235e-05"
    assert float(interval.text(1.00006e-5)) == 1.00005e-5


def test_the_best_settings_are_toml_that_reads_back_as_they_were_set(tmp_path):
    values = {"train.learning_rate": "3.2e-05", "seed": "3", "train.loss": "focal", "quantize.static.rows": "[1, 2]"}
    path = tmp_path / "ftx.toml"
    path.write_text(as_toml(values))
    assert load_config(path).values == {
        "seed": 3,
        "train": {"learning_rate": 3.2e-05, "loss": "focal"},
        "quantize": {"static": {"rows": [1, 2]}},
    }


def test_a_missing_optuna_is_named_with_the_line_that_installs_it(sweeps, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(FtxError, match="needs optuna") as raised:
        sweeps("train", sets=("train.epochs=1..3",))
    assert raised.value.hints == ("pip install 'ftx-toolchain[sweep]'",) and raised.value.code == ExitCode.USER


def test_a_damaged_file_of_trials_is_named(sweeps):
    sweeps("train", sets=("train.epochs=1..2",), trials=1)
    [folder] = (sweeps.store.root / "sweeps").iterdir()
    (folder / "trials.json").write_text(json.dumps({"trials": [{"no": 1}]}))
    with pytest.raises(FtxError, match="is damaged"):
        sweeps("train", sets=("train.epochs=1..2",), trials=1)
