"""`prune:width`: FFN neurons, the same number in each layer, so that stock transformers loads the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftx import Artifact, Context, FtxError
from ftx_plugins.prune.config import WidthConfig
from ftx_plugins.prune.importance import collect_statistics
from ftx_plugins.prune.job import Job, start
from ftx_plugins.prune.reconstruction import reconstruct
from ftx_plugins.prune.selection import removal_order
from ftx_plugins.prune.surgery import keep_units

STAGE = "narrowed"


def run(config: WidthConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Prune each FFN of `inputs["model"]` to one width; `FtxError` where one is narrower already."""
    job = start(config, inputs, context)
    width = _target(job, config)
    if job.restore(STAGE) is None:
        _narrow(job, width)
        job.save(STAGE)
    return job.finish()


def _target(job: Job, config: WidthConfig) -> int:
    widths = job.anatomy.widths()
    width = max(1, min(widths) // 2) if config.width is None else config.width
    if width > min(widths):
        layer = widths.index(min(widths))
        raise FtxError(
            f"prune.width = {width}, but layer {layer} has {widths[layer]} neurons only",
            f"set prune.width to at most {min(widths)}",
        )
    if {width} == set(widths):
        raise FtxError(f"prune.width = {width} is the width that each layer has", "set a smaller prune.width")
    return width


def _narrow(job: Job, width: int) -> None:
    context, total = job.context, len(job.calibration)
    statistics = collect_statistics(
        job.anatomy, job.calibration, context.seed, lambda done, _: context.progress(done, total, "rows")
    )
    for layer in range(len(job.anatomy.layers)):
        part, seen = job.anatomy.feed_forward(layer), statistics[2 * layer + 1]
        if part.units > width:
            kept = removal_order(part, seen).kept(width)
            reconstruct(part, kept, seen)
            keep_units(part, kept)
        context.progress(layer + 1, len(job.anatomy.layers), "layers narrowed")
