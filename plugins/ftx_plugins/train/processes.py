"""The processes that train together: how they meet, and what they tell each other besides gradients.

The leader (rank 0) carries out the run. The others wait until it tells them to take part in a step: they then call the
same function with the same settings, inputs and work folder (a folder that all machines see), and write nothing but
their part of the saves.

Waiting and telling have a gloo group of their own: the leader may be busy for hours with steps of its own, and that is
no failure, whereas a gradient that does not come within minutes is one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from ftx import Artifact, Context, FtxError, ModelSettings
from ftx.errors import ExitCode
from ftx.plugins import PluginManager
from ftx.settings import StepConfig
from ftx.step import load_by_name

PATIENCE = timedelta(days=30)
LOST = ("gloo", "nccl", "connection", "socket", "broken pipe", "peer", "timed out")
"""What errors of a process group have in them where another process is gone: most are plain `RuntimeError`s."""

_waiting: Any = None
"""The process group for waiting and telling."""
_in_step = False
"""Whether the others have been told to take part in a step that is not over."""


@dataclass(frozen=True)
class _Call:
    """A step that all processes carry out."""

    run: str
    config: StepConfig
    inputs: Mapping[str, Artifact]
    step: str
    work: Path
    seed: int
    device: str
    model: ModelSettings


def connect(device: str) -> None:
    """Meet the other processes. Raises `FtxError` where there are fewer GPUs here than processes."""
    global _waiting
    cuda = device == "cuda"
    if cuda:
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            count = torch.cuda.device_count()
            hint = f"start as many processes as there are GPUs: --processes {max(count, 1)}"
            raise FtxError(f"there are {count} GPUs here, and more processes than that", hint)
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if cuda else "gloo")
    _waiting = distributed.new_group(backend="gloo", timeout=PATIENCE)


def is_leader() -> bool:
    return not distributed.is_initialized() or distributed.get_rank() == 0


def count() -> int:
    """How many processes train together; 1 where there is no group."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def wait_for_all() -> None:
    if count() > 1:
        distributed.barrier(group=_waiting)


@contextmanager
def leader_first() -> Iterator[None]:
    """The leader does what follows while the others wait, and then find it done."""
    if not is_leader():
        wait_for_all()
    yield
    if is_leader():
        wait_for_all()


def as_the_leader_says(answer: bool) -> bool:
    """The leader's answer, in every process: what depends on a clock must be the same for all."""
    if count() == 1:
        return answer
    told = torch.tensor([int(answer)])
    distributed.broadcast(told, src=0, group=_waiting)
    return bool(told.item())


def execute(run: str, config: StepConfig, inputs: Mapping[str, Artifact], context: Context) -> Mapping[str, Any]:
    """The leader's part: have all processes carry out the step.

    Raises `FtxError` where another process is gone.
    """
    global _in_step
    call = _Call(run, config, dict(inputs), context.step, context.work, context.seed, context.device, context.model)
    _in_step = True
    try:
        distributed.broadcast_object_list([call], src=0, group=_waiting)
        metrics: Mapping[str, Any] = load_by_name(run)(config, inputs, context)
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or any(word in str(error).lower() for word in LOST):
            first = str(error).partition("\n")[0]
            hint = "look at what the others said: out of memory is the usual reason"
            message = f"another process of this training is gone: {first}"
            raise FtxError(message, hint, code=ExitCode.STEP_FAILED) from error
        raise
    _in_step = False
    return metrics


def dismiss() -> None:
    """The leader's last word. In the midst of a step there is none: the others notice when this process ends."""
    if not _in_step:
        distributed.broadcast_object_list([None], src=0, group=_waiting)
        distributed.destroy_process_group()


def follow(plugins: PluginManager) -> None:
    """Take part in the leader's steps until it dismisses this process."""
    while True:
        told: list[_Call | None] = [None]
        distributed.broadcast_object_list(told, src=0, group=_waiting)
        [call] = told
        if call is None:
            distributed.destroy_process_group()
            return
        with tempfile.TemporaryDirectory() as folder:
            context = Context(call.step, Path(folder), call.work, call.seed, call.device, call.model, plugins)
            load_by_name(call.run)(call.config, call.inputs, context)
