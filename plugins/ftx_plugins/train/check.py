"""What can be told about a plan's training before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from ftx import FtxError, ModelSettings, Problem
from ftx.machine import has_cuda
from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.precision import processor_has_bf16, resolve_precision


def check(config: TrainConfig, model: ModelSettings) -> Iterator[Problem]:
    """What this machine does not have for some of the settings, and settings that make no sense together."""
    yield from _check_precision(config)
    yield from _check_lora(config)


def _check_precision(config: TrainConfig) -> Iterator[Problem]:
    """Whether a GPU has bf16 is only known when it is used."""
    if has_cuda():
        return
    try:
        resolve_precision(config.mixed_precision, "cpu", processor_has_bf16())
    except FtxError as error:
        yield Problem(error.message, where="train.mixed_precision", hints=error.hints)


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
