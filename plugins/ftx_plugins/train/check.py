"""What can be told about a plan's training before anything runs."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from ftx import FtxError, ModelSettings, Problem
from ftx.machine import has_cuda
from ftx.tasks import MULTI_LABEL, TASKS, TEXT_CLASSIFICATION
from ftx_plugins.tasks.settings import check_task
from ftx_plugins.train.config import VOTES, TrainConfig
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
    """Settings of another task, what this machine does not have for some of the settings, and settings that make no
    sense together."""
    yield from _check_task(config, model.task)
    yield from _check_precision(config)
    yield from _check_lora(config)
    if config.compile:
        yield from _check_compiler()


def _check_precision(config: TrainConfig) -> Iterator[Problem]:
    """Whether a GPU has bf16 is only known when it is used."""
    if has_cuda():
        return
    try:
        resolve_precision(config.mixed_precision, "cpu", processor_has_bf16())
    except FtxError as error:
        yield Problem(error.message, where="train.mixed_precision", hints=error.hints)


def _check_task(config: TrainConfig, task: str) -> Iterator[Problem]:
    """Settings that mean nothing for the task, and a metric that it does not have."""
    yield from check_task("train", config, OF_TASK, task)
    if config.combine in VOTES and task != TEXT_CLASSIFICATION:
        yield Problem(
            f"train.combine = {config.combine!r} is for {TEXT_CLASSIFICATION}, and model.task is {task}",
            "train.combine",
            ("average the seeds' weights instead: --set train.combine=greedy",),
        )
    figures = (*TASKS[task].figures, "loss")
    if config.metric not in ("auto", *figures):
        hint = f"take one of {', '.join(figures)}: --set train.metric={TASKS[task].metric}"
        yield Problem(f"train.metric = {config.metric!r}, which {task} does not have", "train.metric", (hint,))


def _check_lora(config: TrainConfig) -> Iterator[Problem]:
    if not config.lora_rank:
        if config.lora_targets:
            yield Problem("has no meaning without LoRA", where="train.lora_targets", hints=("--set train.lora_rank=8",))
        return
    if find_spec("peft") is None:
        yield Problem("needs peft", where="train.lora_rank", hints=("pip install 'ftx-toolchain[train]'",))
    if config.unfreeze_last == 0:
        yield Problem(
            "LoRA needs encoder layers that train, and train.unfreeze_last = 0 leaves none",
            where="train.lora_rank",
            hints=("leave one of them out, or give the last layers adapters: --set train.unfreeze_last=2",),
        )
    if config.average != "off":
        yield Problem(
            "LoRA is not averaged: the mean of an adapter's two matrices is not that of their product",
            where="train.average",
            hints=(
                'leave LoRA out, or average the weights of seeds: --set train.average=off --set "train.seeds=[1, 2]"',
            ),
        )


def _check_compiler() -> Iterator[Problem]:
    """What torch.compile's kernels need here: they include Python's header. It takes the compiler that CXX names."""
    wanted = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    without = "or go without: --set train.compile=false"
    if which(wanted) is None:
        named = f"{wanted}, which CXX names, is not there" if os.environ.get("CXX") else f"there is no {wanted} here"
        yield Problem(
            f"torch.compile needs a C++ compiler, and {named}",
            where="train.compile",
            hints=("install one (Debian, Ubuntu: apt-get install g++), or let CXX name yours", without),
        )
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        yield Problem(
            f"torch.compile needs Python's headers, and {sysconfig.get_path('include')} has no Python.h",
            where="train.compile",
            hints=("install them (Debian, Ubuntu: apt-get install python3-dev)", without),
        )
