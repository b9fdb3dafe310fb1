"""`quantize:static`: on a checkpoint it decides on a calibrated recipe, on a bundle it carries one out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftx.artifacts import Artifact
from ftx.step import Context
from ftx_plugins.quantize.config import StaticConfig
from ftx_plugins.quantize.deciding import choose_recipe, open_workbench, write_down


def run(config: StaticConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Calibrate on rows of the training split; what is `auto` is chosen on rows of the validation split."""
    bench = open_workbench(inputs, config, context)
    recipe, tried = choose_recipe(bench, config, inputs["data"], context)
    facts = write_down(inputs, recipe, bench, context)
    return {**facts, "choice_rows": len(bench.samples.choice), "tried": tried}
