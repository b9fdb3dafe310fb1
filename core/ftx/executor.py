"""The local executor: a step runs in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftx.artifacts import Artifact
from ftx.settings import StepConfig
from ftx.step import Context, load_by_name


def execute(run: str, config: StepConfig, inputs: Mapping[str, Artifact], context: Context) -> Mapping[str, Any]:
    """Call the step that `run` names, here and now."""
    metrics: Mapping[str, Any] = load_by_name(run)(config, inputs, context)
    return metrics
