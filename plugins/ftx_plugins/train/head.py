"""The model to fine-tune: an encoder with a classification head for the data's labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig

from ftx import FtxError
from ftx.tasks import REGRESSION, SEQUENCE_HEAD, TASKS, TEXT_CLASSIFICATION, TOKEN_HEAD, task_of_head
from ftx_plugins.checkpoint import THRESHOLDS_FIELD, auto_model, loading, read_model
from ftx_plugins.ensemble import refuse_ensemble

DROPOUT_FIELDS = ("classifier_dropout", "seq_classif_dropout", "cls_dropout", "classifier_dropout_prob")
"""Where configurations keep the head's dropout: BERT, RoBERTa, ELECTRA, ModernBERT; DistilBERT; DeBERTa; ALBERT."""
HEADS = (SEQUENCE_HEAD, TOKEN_HEAD)
NEW_HEAD_HINT = "start with a new head: set train.new_head = true"


@dataclass(frozen=True)
class Head:
    """The head's label names, in the order of its logits, and whether its weights are new."""

    labels: tuple[str, ...]
    is_new: bool


def choose_head(config: Any, names: Sequence[str], new_head: bool, task: str = TEXT_CLASSIFICATION) -> Head:
    """The head that a model with this configuration gets for data with the label `names`.

    A trained head with generic names (LABEL_0 …) of equal count takes the data's, equal sets of names keep the head's
    order, and anything else is an `FtxError`, unless `new_head`.
    """
    if new_head or not has_trained_head(config):
        return Head(tuple(names), is_new=True)
    if (trained := task_of_head(config.to_dict())) != task:
        raise FtxError(
            f"the model has a trained head for {trained or 'another task'}, and model.task is {task}", NEW_HEAD_HINT
        )
    own = tuple(config.id2label[index] for index in range(config.num_labels))
    if set(own) == set(names) and len(own) == len(names):
        return Head(own, is_new=False)
    if task == REGRESSION and len(own) == 1:
        return Head(tuple(names), is_new=False)  # its only output has no meaning but the target's
    if len(own) == len(names) and all(re.fullmatch(r"LABEL_\d+", name) for name in own):
        return Head(tuple(names), is_new=False)
    raise FtxError(
        f"the labels of the data are not those of the model's head: the data has {len(names)} ({listed(names)}), "
        f"the head {len(own)} ({listed(own)})",
        NEW_HEAD_HINT,
    )


def has_trained_head(config: Any) -> bool:
    return any(name.endswith(HEADS) for name in config.architectures or ())


def load_classifier(
    folder: Path,
    names: Sequence[str],
    *,
    dropout: float,
    new_head: bool,
    trust_remote_code: bool = False,
    task: str = TEXT_CLASSIFICATION,
) -> tuple[Any, Head]:
    """The model in `folder` in fp32, with a head for `names`; a new head's weights come from torch's generator.

    Raises `FtxError` where the labels do not fit the head, or where weights of the encoder are missing.
    """
    options = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    with loading(folder):
        config = AutoConfig.from_pretrained(folder, **options)
    refuse_ensemble(config, "trained further")
    head = choose_head(config, names, new_head, task)
    replaces = head.is_new and has_trained_head(config)
    if not replaces:
        _set_labels(config, head.labels, task)
    _set_dropout_fields(config, dropout)
    model, missing = read_model(folder, config, trust_remote_code=trust_remote_code, task=task)
    if replaces:
        with loading(folder):
            _replace_head(model, head.labels, trust_remote_code, task)
    _check_weights(folder, model, missing, head)
    set_head_dropout(model, dropout)
    return model, head


def set_head_dropout(model: Any, dropout: float) -> None:
    for module in head_modules(model):
        if isinstance(module, nn.Dropout):
            module.p = dropout


def head_modules(model: Any) -> list[nn.Module]:
    """All modules outside the encoder: the classification head, whatever the architecture calls it."""
    prefix = model.base_model_prefix
    return [
        module
        for name, child in model.named_children()
        if name != prefix
        for module in child.modules()  # includes the child itself
    ]


def is_head_parameter(model: Any, name: str) -> bool:
    """Whether a parameter belongs to the head. An encoder's pooler counts: it has no use but to feed the head."""
    first, _, rest = name.partition(".")
    return first != model.base_model_prefix or rest.startswith("pooler.")


def _set_labels(config: Any, labels: Sequence[str], task: str) -> None:
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: index for index, name in enumerate(labels)}
    config.problem_type = TASKS[task].problem_type
    setattr(config, THRESHOLDS_FIELD, None)  # those of another head mean nothing here


def _set_dropout_fields(config: Any, dropout: float) -> None:
    for name in DROPOUT_FIELDS:
        if hasattr(config, name):
            setattr(config, name, dropout)


def _replace_head(model: Any, labels: Sequence[str], trust_remote_code: bool, task: str) -> None:
    """Give the model the head of a fresh one.

    Loading with `ignore_mismatched_sizes` would keep the old weights wherever the shapes happen to agree, and
    would hide an encoder that does not fit.
    """
    _set_labels(model.config, labels, task)
    fresh = auto_model(task).from_config(model.config, dtype=torch.float32, trust_remote_code=trust_remote_code)
    for name, child in fresh.named_children():
        if name != model.base_model_prefix:
            setattr(model, name, child)
    model.num_labels = len(labels)


def _check_weights(folder: Path, model: Any, missing: Sequence[str], head: Head) -> None:
    bad = sorted(name for name in missing if not (head.is_new and is_head_parameter(model, name)))
    if bad:
        shown = ", ".join(bad[:4]) + (", …" if len(bad) > 4 else "")
        raise FtxError(
            f"{folder} lacks {len(bad)} weights of {type(model).__name__}: {shown}",
            "get the model again, and check that model.name names a complete one",
        )


def listed(names: Sequence[str]) -> str:
    """Label names for a message, the first ones of many."""
    shown = ", ".join(names[:12])
    return f"{shown}, …" if len(names) > 12 else shown
