"""The model that a training starts from: with its head, its frozen part and its adapters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import set_seed

from ftx import Context
from ftx.tasks import REGRESSION
from ftx_plugins.checkpoint import quiet_transformers, read_model
from ftx_plugins.tasks.scaling import Scale, output_layer
from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.freeze import unfreeze_last
from ftx_plugins.train.head import Head, load_classifier
from ftx_plugins.train.job import Job


def fresh_model(
    source: Path, names: Sequence[str], scale: Scale, config: TrainConfig, context: Context
) -> tuple[Any, Head]:
    """The model to train, the same for every seed: weights of seeds with heads of their own could not be averaged.

    Where the head of a regression is trained already, it is made to give numbers standardised by `scale`.

    Raises `FtxError` where the labels, the layers to train or LoRA's targets do not fit the model.
    """
    model, head = _with_head(source, names, scale, config, context)
    if config.lora_rank:
        from ftx_plugins.train.lora import add_adapters

        add_adapters(model, config)
    return model, head


def trained_model(job: Job, save: Path) -> Any:
    """The model that a save of the training holds, read back and so shown to load; on the processor, adapters merged,
    in evaluation mode."""
    config, context = job.config, job.context
    if not config.lora_rank:
        with quiet_transformers():
            model: Any = read_model(save, trust_remote_code=context.model.trust_remote_code)[0]
        return model.eval()
    from ftx_plugins.train.lora import add_adapters, load_merged

    model, _ = _with_head(job.source, job.head.labels, job.scale, config, context)
    return load_merged(add_adapters(model, config), save).requires_grad_(True).eval()


def _with_head(
    source: Path, names: Sequence[str], scale: Scale, config: TrainConfig, context: Context
) -> tuple[Any, Head]:
    set_seed(context.seed)
    model, head = load_classifier(
        source,
        names,
        dropout=config.dropout,
        new_head=config.new_head,
        trust_remote_code=context.model.trust_remote_code,
        task=context.model.task,
    )
    if context.model.task == REGRESSION:
        output_layer(model)  # it is to be scaled at the end: better refused before the training
        if not head.is_new:
            scale.unfold(model)
    if config.unfreeze_last is not None:
        unfreeze_last(model, config.unfreeze_last)
    return model, head
