"""The student: an encoder that is given, or some layers of the teacher."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig, set_seed

from ftx import Artifact, Context, FtxError
from ftx.sources import HUB, read_model_folder
from ftx_plugins.checkpoint import LoadedCheckpoint, load_tokenizer, loading, max_length_of
from ftx_plugins.distill.config import DistillConfig
from ftx_plugins.ensemble import is_ensemble
from ftx_plugins.prune.anatomy import dissect
from ftx_plugins.prune.surgery import keep_layers, settle
from ftx_plugins.train.head import has_trained_head, load_classifier, set_head_dropout


@dataclass(frozen=True)
class Student:
    """The model that learns, and where it came from."""

    loaded: LoadedCheckpoint
    tokenizer_source: Path
    layers: tuple[int, ...] | None
    """The teacher's layers that it begins with; None for an encoder of its own."""

    def fresh_tokenizer(self, context: Context) -> Any:
        """The tokenizer as it came."""
        return _tokenizer(self.tokenizer_source, context)


def make_student(config: DistillConfig, teacher: LoadedCheckpoint, source: Artifact, context: Context) -> Student:
    """The student at its start, on the context's device: the same for the same seed.

    Raises `FtxError` for an encoder that cannot be loaded, and for more layers than the teacher has.
    """
    set_seed(context.seed)  # a new head's weights
    if config.student is None:
        student = _layers_of(config, teacher, source, context)
    else:
        student = _encoder(config, teacher, context)
    student.loaded.model.to(context.device)
    return student


def pick_layers(count: int, there: int, pick: str) -> tuple[int, ...]:
    """`count` places of `there`, in rising order: the first ones, or at even distances from the first to the last."""
    if pick == "first" or count == 1:
        return tuple(range(count))
    return tuple(int(place) for place in np.linspace(0, there - 1, count).round())


def _layers_of(config: DistillConfig, teacher: LoadedCheckpoint, source: Artifact, context: Context) -> Student:
    # The members of an ensemble of seeds stand best first.
    member = teacher.model.members[0] if is_ensemble(teacher.model.config) else teacher.model
    model = copy.deepcopy(member)
    anatomy = dissect(model, context.plugins.architectures())
    there = len(anatomy.layers)
    count = config.layers or max(1, there // 2)
    if count > there:
        raise FtxError(
            f"distill.layers = {count}, but the teacher has {there} layers",
            f"take 1 to {there}: --set distill.layers={max(1, there // 2)}",
            "or name another encoder: distill.student",
        )
    layers = pick_layers(count, there, config.pick)
    keep_layers(anatomy, layers)
    settle(anatomy)
    set_head_dropout(model, config.dropout)
    tokenizer = _tokenizer(source.path, context)
    max_length = min(config.max_length or teacher.max_length, teacher.max_length)
    return Student(LoadedCheckpoint(model, tokenizer, teacher.labels, max_length), source.path, layers)


def _encoder(config: DistillConfig, teacher: LoadedCheckpoint, context: Context) -> Student:
    folder = _folder_of(config, context)
    trusted = context.model.trust_remote_code
    with loading(folder):
        own = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trusted)
    # A head for other labels is of no use to a student, and one for the same labels is a good start.
    replaces = has_trained_head(own) and set(own.id2label.values()) != set(teacher.labels)
    if replaces:
        context.log("the student's head is for other labels: it gets a new one")
    model, head = load_classifier(
        folder, teacher.labels, dropout=config.dropout, new_head=replaces, trust_remote_code=trusted
    )
    tokenizer = _tokenizer(folder, context)
    max_length = min(config.max_length or teacher.max_length, max_length_of(model.config, tokenizer))
    return Student(LoadedCheckpoint(model, tokenizer, head.labels, max_length), folder, None)


def _folder_of(config: DistillConfig, context: Context) -> Path:
    """The student's folder; one on the hub is fetched."""
    name = str(config.student)
    if not name.startswith(HUB):
        return Path(name)
    from ftx_plugins.model.hub import download

    allow_code = context.model.trust_remote_code
    folder = download(
        name.removeprefix(HUB), config.student_revision, "distill", allow_code=allow_code, setting="student"
    )
    read_model_folder(folder, context.model.task)  # refuses what could never be loaded
    context.describe(student={"name": name.removeprefix(HUB), "commit": folder.name})
    return folder


def _tokenizer(folder: Path, context: Context) -> Any:
    return load_tokenizer(folder, trust_remote_code=context.model.trust_remote_code)
