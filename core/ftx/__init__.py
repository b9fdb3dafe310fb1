"""ftx: fine-tune, shrink, export and serve text encoders, each step measured against the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftx.api_version import API_VERSION
from ftx.artifacts import Artifact, Bundle, Checkpoint, Dataset, Evaluation, LoadTest
from ftx.errors import FtxError, Problem
from ftx.hookspecs import hookimpl
from ftx.step import Architecture, Command, Context, Executor, Metric, ModelSettings, Runtime, Step, Translator

if TYPE_CHECKING:
    from ftx.api import load_checkpoint, report, run
    from ftx.settings import FilePath, SourcePath, StepConfig

__version__ = "0.1.0"

__all__ = [
    "API_VERSION",
    "Architecture",
    "Artifact",
    "Bundle",
    "Checkpoint",
    "Command",
    "Context",
    "Dataset",
    "Evaluation",
    "Executor",
    "FilePath",
    "FtxError",
    "LoadTest",
    "Metric",
    "ModelSettings",
    "Problem",
    "Runtime",
    "SourcePath",
    "Step",
    "StepConfig",
    "Translator",
    "__version__",
    "hookimpl",
    "load_checkpoint",
    "report",
    "run",
]

# Imported on first use: they bring pydantic or more, and `ftx --help` must not wait for that.
_LAZY = {
    "FilePath": "ftx.settings",
    "SourcePath": "ftx.settings",
    "StepConfig": "ftx.settings",
    "load_checkpoint": "ftx.api",
    "report": "ftx.api",
    "run": "ftx.api",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
