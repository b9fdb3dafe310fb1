"""Cross-validation: how well the settings do on each fold of the training rows, with a model that has not seen it.

work/folds/0.json   the figures of a fold that is done, so that a killed run does not train it again
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ftx import Artifact, FtxError
from ftx_plugins.data.splits import FOLD, load_split, of_source
from ftx_plugins.train import processes
from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.finish import finish
from ftx_plugins.train.fresh import fresh_model
from ftx_plugins.train.frozen import reuse_frozen
from ftx_plugins.train.job import Job
from ftx_plugins.train.losses import objective_of
from ftx_plugins.train.saves import write_json
from ftx_plugins.train.trainer import train


def has_folds(data: Artifact, config: TrainConfig) -> bool:
    """Whether the data set asks for cross-validation; an `FtxError` where the settings cannot have it."""
    if not data.meta.get("folds"):
        return False
    if config.seeds:
        raise FtxError(
            "data.folds with train.seeds: every fold would be trained once for each seed, and their mean be judged",
            "cross-validate one seed (leave train.seeds out), then combine seeds without folds: --set data.folds=0",
        )
    if processes.count() > 1:
        raise FtxError("data.folds with several processes: folds are trained by one", "leave --processes out")
    return True


def cross_validate(job: Job, data: Artifact) -> dict[str, Any]:
    """Train once for each fold, on the rows of all others; returns each fold's figures, their mean and their standard
    deviation. The models are thrown away: they are there to judge the settings.

    A row that an augmentation has added is in the fold of the row that it was made from: it trains with it, and it is
    not judged by.
    """
    table = load_split(data, "train")
    folds, own = np.asarray(table.with_format("numpy")[FOLD][:]), of_source(table)
    count = int(data.meta["folds"])
    figures = []
    for fold in range(count):
        kept, folder = job.context.work / "folds" / f"{fold}.json", job.context.work / f"trainer-fold-{fold}"
        if not kept.exists():
            job.context.log(f"fold {fold + 1} of {count}")
            kept.parent.mkdir(exist_ok=True)
            write_json(kept, _train_fold(job, folds != fold, (folds == fold) & own, folder))
        figures.append(json.loads(kept.read_text(encoding="utf-8")))
        if folder.exists():  # a kill may have come right behind the figures
            shutil.rmtree(folder)
    summary = summarize(figures)
    shown = ", ".join(f"{name} {mean:.4f} ± {summary['std'][name]:.4f}" for name, mean in summary["mean"].items())
    job.context.log(f"{count} folds, mean ± standard deviation: {shown}")
    return summary


def summarize(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`count`, `mean` and `std` (of the sample, so with n - 1) over the folds' `figures`, and these as `by_fold`."""
    names = figures[0]["validation"]
    values = {name: [float(one["validation"][name]) for one in figures] for name in names}
    return {
        "count": len(figures),
        "mean": {name: float(np.mean(of)) for name, of in values.items()},
        "std": {name: float(np.std(of, ddof=1)) for name, of in values.items()},
        "by_fold": [
            {"fold": place + 1, "rows": one["rows"], "best_epoch": one["best_epoch"], **one["validation"]}
            for place, one in enumerate(figures)
        ],
    }


def _train_fold(job: Job, trained: np.ndarray, judged: np.ndarray, folder: Path) -> dict[str, Any]:
    model, _ = fresh_model(job.source, job.head.labels, job.scale, job.config, job.context)
    frozen = reuse_frozen(job, model)  # for all rows: what frozen layers give does not depend on the fold
    rows, validation = job.rows.select(np.flatnonzero(trained)), job.rows.select(np.flatnonzero(judged))
    objective = objective_of(job.config, rows.labels, job.head.labels, job.scoring.task)
    part = replace(job, rows=rows, validation=validation, objective=objective)
    training = train(part, model, frozen, seed=job.context.seed, folder=folder)
    figures = finish(part, training).figures
    return {
        "rows": len(validation),
        "best_epoch": training.best_step // training.steps_per_epoch,
        "validation": {name: value for name, value in figures.items() if name != "per_class"},
    }
