"""What can be told about a distillation before anything runs. Light."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ftx import FtxError, ModelSettings, Problem
from ftx.sources import HUB, read_model_folder
from ftx_plugins.distill.config import DistillConfig
from ftx_plugins.distill.unlabelled import file_of


def check(config: DistillConfig, model: ModelSettings) -> Iterator[Problem]:
    """A student that cannot be loaded; unlabelled texts in a folder, an unknown format, or other columns."""
    if config.student is not None and not config.student.startswith(HUB):
        try:
            read_model_folder(Path(config.student), model.task)
        except FtxError as error:
            yield Problem(error.message, "distill.student", error.hints)
    if config.unlabelled is not None:
        yield from file_of(config).check()
