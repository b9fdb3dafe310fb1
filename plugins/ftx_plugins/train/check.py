"""What can be told about a plan's training before anything runs."""

from __future__ import annotations

from collections.abc import Iterator

from ftx import FtxError, ModelSettings, Problem
from ftx.machine import has_cuda
from ftx.tasks import MULTI_LABEL, TASKS, TEXT_CLASSIFICATION
from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.precision import processor_has_bf16, resolve_precision

OF_TASK = {
    "loss": TEXT_CLASSIFICATION,
    "class_weights": TEXT_CLASSIFICATION,
    "sampler": TEXT_CLASSIFICATION,
    "label_smoothing": TEXT_CLASSIFICATION,
    "r_drop": TEXT_CLASSIFICATION,
    "thresholds": MULTI_LABEL,
}
"""Setting -> the only task that it is for."""


def check(config: TrainConfig, model: ModelSettings) -> Iterator[Problem]:
    """Settings of another task, and a number format that this machine does not have. Whether a GPU has bf16 is only
    known when it is used."""
    yield from _check_task(config, model.task)
    if has_cuda():
        return
    try:
        resolve_precision(config.mixed_precision, "cpu", processor_has_bf16())
    except FtxError as error:
        yield Problem(error.message, where="train.mixed_precision", hints=error.hints)


def _check_task(config: TrainConfig, task: str) -> Iterator[Problem]:
    """Settings that mean nothing for the task, and a metric that it does not have."""
    for name, wanted in OF_TASK.items():
        if wanted != task and getattr(config, name) != type(config).model_fields[name].default:
            hint = f"leave it out, or set the task: --set model.task={wanted}"
            yield Problem(f"train.{name} is for {wanted}, and model.task is {task}", f"train.{name}", (hint,))
    figures = (*TASKS[task].figures, "loss")
    if config.metric not in ("auto", *figures):
        hint = f"take one of {', '.join(figures)}: --set train.metric={TASKS[task].metric}"
        yield Problem(f"train.metric = {config.metric!r}, which {task} does not have", "train.metric", (hint,))
