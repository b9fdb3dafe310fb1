"""`prune:layers`: whole layers, those named, or those that the calibration rows miss least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ftx import Artifact, Context, FtxError
from ftx_plugins.prune.calibration import logits_of
from ftx_plugins.prune.config import LayersConfig
from ftx_plugins.prune.job import Job, start
from ftx_plugins.prune.surgery import keep_layers

STAGE = "shortened"


def run(config: LayersConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Drop layers of `inputs["model"]`; `FtxError` where it has no more than are to be kept."""
    job = start(config, inputs, context)
    _check(config, len(job.anatomy.layers))
    facts = job.restore(STAGE)
    if facts is None:
        facts = {"divergence": _shorten(job, config)}
        job.save(STAGE, **facts)
    return job.finish(divergence=facts["divergence"])


def _check(config: LayersConfig, layers: int) -> None:
    if config.layers is not None and not 0 <= config.layers[0] <= config.layers[-1] < layers:
        raise FtxError(
            f"prune.layers = {list(config.layers)}, but the encoder's {layers} layers are 0 to {layers - 1}",
            f"name layers from 0 to {layers - 1}",
        )
    keep = len(config.layers) if config.layers is not None else config.keep or layers // 2
    if not 0 < keep < layers:
        name = "layers" if config.layers is not None else "keep"
        raise FtxError(
            f"prune.{name}: the encoder has {layers} layer{'s' * (layers != 1)}, so that keeping {keep} drops none",
            f"keep 1 to {layers - 1}" if layers > 1 else "prune heads and neurons instead: ftx run prune:structured",
        )


def _shorten(job: Job, config: LayersConfig) -> float:
    """Drop the layers; returns the divergence of the labels' probabilities that this made on the calibration rows."""
    wanted = logits_of(job.loaded.model, job.calibration)
    if config.layers is not None:
        kept = list(config.layers)
    else:
        kept = _most_missed(job, config.keep or len(job.layers) // 2, wanted)
    keep_layers(job.anatomy, kept)
    job.layers = kept
    return _divergence(job, wanted)


def _most_missed(job: Job, keep: int, wanted: torch.Tensor) -> list[int]:
    """The layers to keep: one by one that layer goes without which the probabilities change least."""
    layers = job.anatomy.layers
    whole = list(layers)
    fixed = 1 if job.anatomy.architecture.fixed_first_layer else 0
    kept = list(range(len(whole)))
    drops = len(whole) - keep
    while len(kept) > keep:
        changes = {}
        for place in kept[fixed:]:
            _set(layers, [whole[other] for other in kept if other != place])
            changes[place] = _divergence(job, wanted)
        kept.remove(min(changes, key=lambda place: changes[place]))
        job.context.progress(drops - len(kept) + keep, drops, "layers dropped")
    _set(layers, whole)
    return kept


def _set(layers: torch.nn.ModuleList, modules: Sequence[torch.nn.Module]) -> None:
    del layers[:]
    layers.extend(modules)


def _divergence(job: Job, wanted: torch.Tensor) -> float:
    """How far the model's predictions are from those of the logits `wanted`, the mean over rows, in nats."""
    logits = logits_of(job.loaded.model, job.calibration)
    return job.calibration.scoring.divergence(wanted.numpy(), logits.numpy())
