"""Which values to try next, and which trial to stop early: Optuna's part of a sweep."""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Sequence
from typing import Any

from ftx.errors import FtxError
from ftx.sweep.objective import Objective
from ftx.sweep.space import Interval, Space
from ftx.sweep.trials import Trial

RANDOM_TRIALS = 5
"""Trials drawn at random before the estimator has something to go by. Optuna's 10 is more than many sweeps have."""
TRIALS_TO_COMPARE_WITH = 4
"""Finished trials, at least, before one is stopped for being worse than their median."""
WORST_EXCESS = 1e9
"""In the place of an infinite one, which neither JSON nor a mean has."""


class Search:
    """Proposes values by a tree-structured Parzen estimator, and stops trials by the median rule.

    Sources: Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"; Golovin et al. 2017, "Google Vizier",
    section 3.2 (median stopping). What is proposed depends on `seed` and on the trials before it alone, so that a
    sweep that goes on proposes what it would have without the break.
    """

    def __init__(self, spaces: Sequence[Space], objective: Objective, seed: int, *, stop_early: bool) -> None:
        self._optuna = _import_optuna()
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        self._spaces, self._objective, self._seed = spaces, objective, seed
        pruners = self._optuna.pruners
        pruner = pruners.MedianPruner(n_startup_trials=TRIALS_TO_COMPARE_WITH) if stop_early else pruners.NopPruner()
        self._study = self._optuna.create_study(direction=objective.direction, pruner=pruner)
        self._distributions = {space.key: self._distribution(space) for space in spaces}
        self._trial: Any = None

    def replay(self, trial: Trial) -> None:
        """Learn from a trial that is over."""
        self.resume(trial)
        self.finish(trial)

    def resume(self, trial: Trial) -> None:
        """Take up a trial whose values are chosen, with what its epochs have given so far."""
        self._study.enqueue_trial({space.key: _raw(space, trial.values[space.key]) for space in self._spaces})
        self._trial = self._study.ask(self._distributions)
        for epoch, figure in trial.epochs.items():
            self._trial.report(figure, epoch)

    def propose(self, number: int) -> dict[str, str]:
        """The values of the trial with this number, which is then to be taken up."""
        digest = hashlib.sha256(f"{self._seed}:{number}".encode()).digest()
        self._study.sampler = self._optuna.samplers.TPESampler(
            n_startup_trials=RANDOM_TRIALS, seed=int.from_bytes(digest[:4], "little")
        )
        drawn = self._study.ask(self._distributions)
        # What is tried are the rounded values: the study has to know those, and no others.
        self._study.tell(drawn, state=self._optuna.trial.TrialState.FAIL)
        return {
            space.key: space.text(value) if isinstance(space, Interval) else str(value)
            for space, value in ((space, drawn.params[space.key]) for space in self._spaces)
        }

    def should_stop(self, epoch: int, figure: float) -> bool:
        """Whether the trial is worse, after this epoch, than the median of the others were."""
        self._trial.report(figure, epoch)
        return bool(self._trial.should_prune())

    def finish(self, trial: Trial) -> None:
        """Learn what came of the trial that was taken up last."""
        states = self._optuna.trial.TrialState
        if trial.state == "stopped":
            self._study.tell(self._trial, state=states.PRUNED)
        elif trial.figure is None or not math.isfinite(trial.figure):
            self._study.tell(self._trial, state=states.FAIL)
        else:
            self._trial.set_constraint("budget", trial.excess)
            self._study.tell(self._trial, trial.figure)

    def _distribution(self, space: Space) -> Any:
        kinds = self._optuna.distributions
        if not isinstance(space, Interval):
            return kinds.CategoricalDistribution(space.values)
        if space.integer:
            return kinds.IntDistribution(int(space.low), int(space.high), log=space.log)
        return kinds.FloatDistribution(float(space.low), float(space.high), log=space.log)


def combinations(spaces: Sequence[Space], seed: int, at_most: int) -> list[dict[str, str]] | None:
    """Every combination of values, in random order; None where there are more than `at_most`."""
    sets = [space.values for space in spaces]
    if any(values is None for values in sets) or math.prod(len(values or ()) for values in sets) > at_most:
        return None
    keys = [space.key for space in spaces]
    found = [dict(zip(keys, values, strict=True)) for values in itertools.product(*(each or () for each in sets))]
    random.Random(seed).shuffle(found)
    return found


def _raw(space: Space, text: str) -> Any:
    if not isinstance(space, Interval):
        return text
    return int(text) if space.integer else float(text)


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        if error.name != "optuna":
            raise
        raise FtxError("ftx sweep needs optuna, which is not installed", "pip install 'ftx-toolchain[sweep]'") from None
    return optuna
