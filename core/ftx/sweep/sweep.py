"""A sweep: trials of one plan with other settings, one after the other, and a run with the best of them.

Each trial is a run like any other. Only the last run, with the best settings, looks at the test split; all its other
steps are hits.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ftx.artifacts import Artifact, canonical_json
from ftx.config import load_config
from ftx.errors import BudgetError, Bug, ExitCode, FtxError, PlanError, Problem, Stopped
from ftx.events import Events, Listener
from ftx.plan import REFERENCE, SOURCE, SUBJECT, Plan, step_key
from ftx.planner import FINAL, make_plan
from ftx.plugins import PluginManager
from ftx.runner import RunResult, run_plan
from ftx.store import Store
from ftx.sweep.objective import Objective, choose_objective, measure
from ftx.sweep.search import WORST_EXCESS, Search, combinations
from ftx.sweep.space import Asked, as_settings, read_settings
from ftx.sweep.trials import Trial, Trials
from ftx.tasks import TASKS

LEAST_EXCESS = 1e-9
"""What a broken budget counts at least: a variant may be refused for being slow, with every limit kept."""
FAILURES_IN_A_ROW = 3
"""Trials that fail one after another before the sweep gives up: what they have in common is then the cause."""


@dataclass(frozen=True)
class Terms:
    """What is searched, and how."""

    words: tuple[str, ...]
    config_path: Path | None
    asked: Asked
    objective: Objective
    trials: int
    """How many there are to be, those of earlier sessions included."""
    stop_early: bool
    plan: Plan
    """One of the plans, for what is the same in all of them."""
    command: str
    """The command line that goes on with the sweep."""


@dataclass
class SweepResult:
    """What a sweep found. `error` is set where it was interrupted, or no trial will do."""

    identity: str
    objective: Objective
    trials: list[Trial]
    best: Trial | None = None
    run: RunResult | None = None
    """The run with the best settings."""
    error: FtxError | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "sweep": self.identity,
            "objective": {"name": self.objective.name, "direction": self.objective.direction},
            "trials": [trial.to_json() for trial in self.trials],
            "best": self.best.to_json() if self.best else None,
            "run": self.run.to_json() if self.run else None,
        }


@dataclass(frozen=True)
class Watcher:
    """Who is told how a sweep goes on."""

    trial_started: Callable[[Trial, int], None]
    """Called with each trial, and how many there are to be."""
    trial_finished: Callable[[Trial], None]
    listen: Callable[[], AbstractContextManager[Sequence[Listener]]]
    """For each run, who listens to its events."""


def plan_sweep(
    words: Sequence[str],
    config_path: Path | None,
    settings: Sequence[str],
    *,
    objective: str | None,
    trials: int,
    stop_early: bool,
    plugins: PluginManager,
    command: str,
) -> Terms:
    """Check the whole sweep before anything runs: both ends of each range, and each choice, make a plan.

    Raises `PlanError` with every problem.
    """
    asked, problems = read_settings(settings, plugins)
    plans: list[Plan] = []
    for values in _corners(asked):
        try:
            plans.append(_plan(words, config_path, (*asked.fixed, *as_settings(values)), plugins))
        except PlanError as error:
            problems += error.problems
        except FtxError as error:
            problems.append(Problem(error.message, "", error.hints))
    chosen = choose_objective(objective, plans[0], plugins) if plans else None
    if isinstance(chosen, Problem):
        problems.append(chosen)
    if problems or not isinstance(chosen, Objective):
        raise PlanError(list(dict.fromkeys(problems)))
    asked = replace(asked, fixed=(*asked.fixed, *_pinned(plans[0], asked)))
    return Terms(tuple(words), config_path, asked, chosen, trials, stop_early, plans[0], command)


def _pinned(plan: Plan, asked: Asked) -> tuple[str, ...]:
    """The models that settings name, by their folders: `latest` would be another one after each trial."""
    named = {space.key for space in asked.spaces} | {SOURCE, REFERENCE, SUBJECT}
    return tuple(
        f"{setting}={json.dumps(str(given.path))}"
        for setting, given in plan.given.items()
        if isinstance(given, Artifact) and setting not in named
    )


def carry_out(terms: Terms, plugins: PluginManager, watcher: Watcher) -> SweepResult:
    """Do the trials that are still to be done, then the run with the best. Ctrl-C ends it, and keeps what is done."""
    store = Store(terms.plan.store)
    store.create()
    identity = _identity(terms, store)
    with store.lock(f"sweep-{identity}"):
        return _Sweep(terms, plugins, watcher, store, identity).carry_out()


@dataclass
class _Sweep:
    terms: Terms
    plugins: PluginManager
    watcher: Watcher
    store: Store
    identity: str
    trials: Trials = field(init=False)
    search: Search = field(init=False)

    def __post_init__(self) -> None:
        terms = self.terms
        self.trials = Trials(self.store, self.identity)
        self.search = Search(terms.asked.spaces, terms.objective, terms.plan.seed, stop_early=terms.stop_early)

    def carry_out(self) -> SweepResult:
        for trial in self.trials.finished():
            self.search.replay(trial)
        result = SweepResult(self.identity, self.terms.objective, [])
        try:
            self._search()
            result.best = best_of(self.trials.all(), self.terms.objective)
            if result.best is not None:
                _, result.run = self._run(result.best.values, [])
                result.error = result.run.error
            else:
                result.error = self._nothing_found()
        except KeyboardInterrupt:
            result.error = self._interrupted()
        except FtxError as error:
            result.error = error
        result.trials = self.trials.all()
        result.best = best_of(result.trials, self.terms.objective)
        return result

    def _search(self) -> None:
        terms, failed = self.terms, 0
        combined = combinations(terms.asked.spaces, terms.plan.seed, terms.trials)
        tried = [trial.values for trial in self.trials.all()]
        untried = None if combined is None else [values for values in combined if values not in tried]
        left = len(untried) + (self.trials.interrupted() is not None) if untried is not None else terms.trials
        total = min(terms.trials, len(self.trials.finished()) + left)
        while len(self.trials.finished()) < total:
            begun = self._begin(untried)
            self.watcher.trial_started(begun, total)
            trial, error = self._try(begun)
            self.search.finish(trial)
            self.watcher.trial_finished(trial)
            failed = failed + 1 if trial.state == "failed" else 0
            if error is not None and failed >= FAILURES_IN_A_ROW:
                raise error
            gc.collect()  # models hold themselves in cycles, and the next trial needs their memory

    def _begin(self, untried: list[dict[str, str]] | None) -> Trial:
        """The trial that was cut short, or else the next: of few combinations each once, of many what is proposed."""
        trial = self.trials.interrupted()
        if trial is None:
            number = len(self.trials) + 1
            values = self.search.propose(number) if untried is None else untried.pop(0)
            trial = self.trials.put(Trial(number, values))
        self.search.resume(trial)
        return trial

    def _try(self, trial: Trial) -> tuple[Trial, FtxError | None]:
        """Run a trial; what came of it, and its error where it failed.

        Raises what would stop the next trial as well: Ctrl-C, what the user must change, and bugs.
        """
        epochs = _Epochs(self, trial)
        plan, ran = self._run(trial.values, [epochs], for_trial=True)
        trial, error = replace(epochs.trial, run=ran.record.id), ran.error
        if error is None or error.code == ExitCode.BUDGET:
            figure = measure(self.terms.objective, ran, plan)
            if error is None and figure is None:
                name = self.terms.objective.name
                hint = f"name another: --objective {TASKS[plan.model.task].metric}"
                raise FtxError(f"the objective {name} is not measured by {' '.join(self.terms.words)}", hint)
            trial = replace(trial, state="done", figure=figure)
        if error is not None:
            trial = self._went_wrong(trial, error)
        return self.trials.put(trial), error

    def _went_wrong(self, trial: Trial, error: FtxError) -> Trial:
        trial = replace(trial, note=error.message, hints=error.hints)
        if isinstance(error, Stopped):
            return replace(trial, state="stopped")
        if error.code == ExitCode.BUDGET:
            excess = error.excess if isinstance(error, BudgetError) else WORST_EXCESS
            return replace(trial, state="budget", excess=min(max(excess, LEAST_EXCESS), WORST_EXCESS))
        if error.code == ExitCode.STEP_FAILED and not isinstance(error, Bug):
            return replace(trial, state="failed")
        self.trials.put(replace(trial, note="", hints=()))
        if error.code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        raise error

    def _run(
        self, values: Mapping[str, str], listeners: Sequence[Listener], *, for_trial: bool = False
    ) -> tuple[Plan, RunResult]:
        terms = self.terms
        plan = _plan(terms.words, terms.config_path, (*terms.asked.fixed, *as_settings(values)), self.plugins)
        if for_trial:
            # The test split chooses nothing, so no trial looks at it.
            plan = replace(plan, steps=tuple(planned for planned in plan.steps if planned.name != FINAL))
        with self.watcher.listen() as watching:
            events = Events([*watching, *listeners])
            return plan, run_plan(plan, self.plugins, events, command=terms.command)

    def _interrupted(self) -> FtxError:
        return FtxError("interrupted", f"go on where it stopped: {self.terms.command}", code=ExitCode.INTERRUPTED)

    def _nothing_found(self) -> FtxError:
        trials = self.trials.all()
        broken = [trial for trial in trials if trial.state == "budget"]
        if broken:
            nearest = min(broken, key=lambda trial: trial.excess)
            return FtxError(
                f"none of {len(trials)} trials is within the budget; the nearest is trial {nearest.number}: "
                f"{' '.join(as_settings(nearest.values))}\n  {nearest.note}",
                *nearest.hints,
                code=ExitCode.BUDGET,
            )
        hints = trials[-1].hints if trials else ()
        note = f": {trials[-1].note}" if trials else ""
        return FtxError(f"none of {len(trials)} trials came to its end{note}", *hints, code=ExitCode.STEP_FAILED)


class _Epochs:
    """Listens to a trial's run: keeps what each epoch gave, and ends the run where the search has seen enough."""

    def __init__(self, sweep: _Sweep, trial: Trial) -> None:
        self._sweep = sweep
        self.trial = trial

    def __call__(self, name: str, values: Mapping[str, Any]) -> None:
        objective = self._sweep.terms.objective
        if name != "step_evaluated" or objective.name not in values["figures"]:
            return
        epoch, figure = int(values["epoch"]), float(values["figures"][objective.name])
        if epoch <= max(self.trial.epochs, default=0):
            return  # another seed of the same training: the first one speaks for all
        self.trial = self._sweep.trials.put(replace(self.trial, epochs={**self.trial.epochs, epoch: figure}))
        # After the last epoch nothing is left to save, and the trial is worth knowing whole.
        if self._sweep.search.should_stop(epoch, figure) and epoch < values["epochs"]:
            shown = f"{objective.name} {figure:.4g}"
            raise Stopped(f"stopped after epoch {epoch} of {values['epochs']}: {shown} is worse than the median so far")


def best_of(trials: Sequence[Trial], objective: Objective) -> Trial | None:
    """The best of the trials that came to their end within the budget; of equal ones the first."""
    sign = 1 if objective.minimize else -1
    reached = [trial for trial in trials if trial.state == "done" and trial.figure is not None]
    return min(reached, key=lambda trial: (sign * (trial.figure or 0.0), trial.number), default=None)


def _corners(asked: Asked) -> list[dict[str, str]]:
    """Values that show whether every edge of every range is a valid setting: one range is varied at a time."""
    first = {space.key: space.edges[0] for space in asked.spaces}
    return [first, *({**first, space.key: edge} for space in asked.spaces for edge in space.edges[1:])]


def _plan(words: Sequence[str], config_path: Path | None, settings: Sequence[str], plugins: PluginManager) -> Plan:
    return make_plan(words, load_config(config_path, settings=settings, environment=os.environ), plugins)


def _identity(terms: Terms, store: Store) -> str:
    """The same for each session of a sweep, whatever its number of trials: the plan with the first of all values, by
    content and versions as in the keys of its steps, the ranges, the objective and the budget."""
    plan = terms.plan
    made = plan.given_artifacts(store)
    steps: list[Any] = []
    for planned in plan.steps:
        if set(planned.inputs.values()) <= made.keys():
            inputs = {name: made[producer] for name, producer in planned.inputs.items()}
            steps.append(step_key(planned, inputs, plan, store))
        else:
            plugin = [planned.plugin.distribution, planned.plugin.version]
            steps.append([planned.name, planned.step.version, plugin, planned.config.model_dump(mode="json")])
    facts = {
        "steps": steps,
        "given": {name: artifact.digest for name, artifact in made.items()},
        "spaces": [repr(space) for space in terms.asked.spaces],
        "objective": terms.objective.name,
        "stop_early": terms.stop_early,
        "budget": plan.budget.limits(),
        "seed": plan.seed,
    }
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()[:16]
