"""What a training ends with: the model of its best epoch, or the average of its last steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ftx_plugins.train.average import read_average
from ftx_plugins.train.fresh import trained_model
from ftx_plugins.train.job import Job
from ftx_plugins.train.report import Figures, validation_figures
from ftx_plugins.train.soup import figures_of, rank
from ftx_plugins.train.trainer import Training


@dataclass(frozen=True)
class Finished:
    """A trained model, on the processor, and its figures on the validation rows."""

    model: Any
    figures: Figures
    average: dict[str, Any] | None = None
    """What came of averaging, where it was asked for."""


def finish(job: Job, training: Training) -> Finished:
    """The model of the best epoch, or the average, where it is better or is to be kept in any case."""
    figures = validation_figures(training.log, training.best_step, job.scoring.figures)
    own = Finished(trained_model(job, training.best), figures)
    if job.config.average == "off":
        return own
    if training.average is None:
        job.context.log("nothing was averaged: training stopped before the last steps came")
        return Finished(own.model, own.figures, {"steps": 0, "kept": False})
    return _averaged(job, own, training)


def _averaged(job: Job, own: Finished, training: Training) -> Finished:
    """Both are measured in fp32, in which they will be used: the log's figures are of the format trained in."""
    assert training.average is not None
    config, context, model = job.config, job.context, own.model
    job.rows.hidden = job.validation.hidden = None  # the model that was read back runs all of its layers
    model.to(context.device)
    before = figures_of(model, job, job.validation)
    best = {name: value.cpu().clone() for name, value in model.state_dict().items()}
    mean, steps = read_average(training.average)
    unknown = model.load_state_dict(mean, strict=False).unexpected_keys  # what did not train is not in it
    assert not unknown, unknown
    after = figures_of(model, job, job.validation)
    metric = job.metric
    kept = config.keep_average == "always" or rank({0: before, 1: after}, metric)[0] == 1
    if not kept:
        model.load_state_dict(best)
    model.cpu()
    context.log(
        f"the average of the last {steps} steps {'is kept' if kept else 'is dropped'}: {metric} "
        f"{after[metric]:.4f}, that of the best epoch {before[metric]:.4f}"
    )
    shown = {name: value for name, value in after.items() if name != "per_class"}
    return Finished(model, after if kept else own.figures, {"steps": steps, "kept": kept, "validation": shown})
