"""What a plan needs of the machine: packages, a device, room on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from ftx import machine
from ftx.errors import Problem
from ftx.plan import PlannedStep
from ftx.step import ModelSettings, load_by_name

_SIZES_WRITTEN = {"train": 8, "distill": 8, "prune": 1, "quantize": 1, "export": 3}
"""What a step of the stage writes, in sizes of the model. Training keeps two of its own checkpoints, each with AdamW's
two moments (3 sizes), and writes one; an export holds fp32 and int8 for two formats."""


def choose_device(wanted: str) -> str | Problem:
    """`cpu` or `cuda`, as `device` says and the machine has."""
    present = machine.has_cuda()
    if wanted == "cuda" and not present:
        hint = "run on the processor: --set device=cpu"
        return Problem("device = 'cuda', and this machine has no NVIDIA GPU", "", (hint,))
    return "cuda" if present and wanted != "cpu" else "cpu"


def check_steps(steps: Sequence[PlannedStep], model: ModelSettings) -> Iterator[Problem]:
    """Packages that are missing, and what each step itself says about its settings."""
    for planned in {planned.name: planned for planned in steps}.values():
        missing = [name for name in planned.step.requires if find_spec(name) is None]
        if missing:
            builtin = planned.plugin.built_in
            hint = "pip install 'ftx-toolchain[train]'" if builtin else f"pip install {' '.join(missing)}"
            yield Problem(f"needs {', '.join(missing)}, not installed", planned.name, (hint,))
        if planned.step.tasks and model.task not in planned.step.tasks:
            works = ", ".join(planned.step.tasks)
            hint = f"leave {planned.name} out, or use another method: ftx steps"
            yield Problem(f"does not work for {model.task}, only for {works}", planned.name, (hint,))
        if planned.step.check:
            yield from _ask(planned, planned.step.check, model)


def _ask(planned: PlannedStep, check: str, model: ModelSettings) -> Iterator[Problem]:
    """What the step's own check finds; a check that fails is a problem that names its plugin."""
    try:
        yield from load_by_name(check)(planned.config, model)
    except Exception as error:
        if planned.plugin.built_in:
            raise
        message = f"{check} of the plugin {planned.plugin} failed: {type(error).__name__}: {error}"
        yield Problem(message, planned.name, (planned.plugin.repair,))


def check_disk(steps: Sequence[PlannedStep], store: Path, model: Path) -> Iterator[Problem]:
    """Too little room for what the steps will write."""
    weights = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    needed = weights * sum(_SIZES_WRITTEN.get(planned.step.stage, 0) for planned in steps)
    place = next(parent for parent in (store, *store.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        yield Problem(
            f"{free / 1e9:.2f} GB are free in {place}, and this run may need {needed / 1e9:.2f} GB",
            "store",
            ("make room: ftx cache gc", "or put the store elsewhere: --set store=DIR"),
        )
