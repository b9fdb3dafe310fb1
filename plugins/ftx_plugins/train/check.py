"""What can be told about a plan's training before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from ftx import FtxError, ModelSettings, Problem
from ftx.machine import has_cuda
from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.precision import processor_has_bf16, resolve_precision


def check(config: TrainConfig, model: ModelSettings) -> Iterator[Problem]:
    """A number format that this machine does not have, and packages that only some settings need."""
    yield from _check_precision(config)
    if config.lora_rank and find_spec("peft") is None:
        yield Problem("needs peft", where="train.lora_rank", hints=("pip install 'ftx-toolchain[train]'",))


def _check_precision(config: TrainConfig) -> Iterator[Problem]:
    """Whether a GPU has bf16 is only known when it is used."""
    if has_cuda():
        return
    try:
        resolve_precision(config.mixed_precision, "cpu", processor_has_bf16())
    except FtxError as error:
        yield Problem(error.message, where="train.mixed_precision", hints=error.hints)
