"""`distill:logits`: a student learns the probabilities of a teacher, by the logits that it gave once.

Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network". The teacher reads with its own tokenizer,
the student with its own. The step leaves a checkpoint with the weights of the best epoch on the validation rows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import datasets
import numpy as np
import torch

from ftx import Artifact, Context, FtxError
from ftx_plugins.checkpoint import LoadedCheckpoint, quiet_transformers, save_checkpoint
from ftx_plugins.data.splits import labels_of, load_split, split_path
from ftx_plugins.distill.config import DistillConfig
from ftx_plugins.distill.student import Student, make_student
from ftx_plugins.distill.teacher import kept_logits, open_teacher
from ftx_plugins.distill.unlabelled import NAME, write_unlabelled
from ftx_plugins.distillation import NO_LABEL, Course, KeptLogits, Selection, Trained, learn
from ftx_plugins.metrics.classification import accuracy
from ftx_plugins.tasks.learning import mean_loss
from ftx_plugins.tasks.scoring import scoring_of
from ftx_plugins.train.logits import logits_on
from ftx_plugins.train.report import Figures
from ftx_plugins.train.tokens import TokenizedSplit, collator_of, tokenize_split

STEP = "distillation"
"""Of the folder of its saves, and in messages."""


def run(config: DistillConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Teach a student what `inputs["model"]` knows, on the rows of `inputs["data"]` and on texts without labels.

    Raises `FtxError` where the teacher has other labels than the data, where no student can be made, and where the
    training diverges. A killed run goes on: with the teacher's answers, and with the training.
    """
    started = time.monotonic()
    source, data = inputs["model"], inputs["data"]
    teacher = open_teacher(source, data, context)
    student = make_student(config, teacher, source, context)
    loaded = student.loaded
    sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in (teacher.model, loaded.model)]
    if config.layers is None and config.student is None:
        context.log(f"the student begins with the teacher's layers {', '.join(map(str, student.layers or ()))}")
    split, unlabelled = _training_split(config, data, context)
    validation = load_split(data, "validation")
    logits = kept_logits(teacher, loaded.labels, split, context.work / "teacher" / "train", context)
    wanted = kept_logits(teacher, loaded.labels, validation, context.work / "teacher" / "validation", context)
    del teacher  # its memory is the student's now
    rows = _tokenize("train", split, student, data, context)
    held_out = _tokenize("validation", validation, student, data, context)
    trained = learn(
        loaded,
        rows,
        KeptLogits(logits, config.temperature, config.teacher_weight),
        _course(config),
        context,
        Selection(_evaluation(loaded, held_out, wanted, config), config.metric, config.early_stopping),
    )
    _say_how_it_went(trained, config, context)
    _save(student, context)
    context.describe(
        labels=list(loaded.labels),
        task=source.meta.get("task", context.model.task),
        max_length=loaded.max_length,
        base=source.digest,
        teacher=source.digest,
        **({"teacher_layers": list(student.layers)} if student.layers else {}),
    )
    return {
        "validation": trained.figures[trained.best_epoch - 1],
        "teacher": scoring_of(loaded.task, loaded.labels).compute(held_out.labels, np.asarray(wanted)),
        "parameters_share": round(sizes[1] / sizes[0], 4),
        "best_epoch": trained.best_epoch,
        "epochs_run": len(trained.losses),
        **trained.choice.metrics,
        "rows": len(rows) - unlabelled,
        "unlabelled_rows": unlabelled,
        "validation_rows": len(held_out),
        "truncated_rows": rows.truncated,
        "losses": trained.losses,
        "seconds_distilling": round(time.monotonic() - started, 2),
        "history": _history(trained),
    }


def _history(trained: Trained) -> list[dict[str, Any]]:
    """The figures of each epoch, by the names that a training has for them."""
    named = {"loss": "eval_loss"}
    return [
        {"epoch": epoch, "train_loss": loss}
        | {named.get(name, name): value for name, value in figures.items() if name != "per_class"}
        for epoch, (loss, figures) in enumerate(zip(trained.losses, trained.figures, strict=True), 1)
    ]


def _training_split(config: DistillConfig, data: Artifact, context: Context) -> tuple[Any, int]:
    """The labelled rows, and behind them those without a label, whose label is one beyond the data's; and how many
    those are."""
    labelled = load_split(data, "train", max_rows=config.rows or None, seed=context.seed)
    if not len(labelled):
        raise FtxError("the data set has no training rows", "see what became of them: ftx show data")
    if config.unlabelled is None:
        return labelled, 0
    folder = context.work / NAME
    done = folder / "done.json"
    if not done.exists():
        counts = write_unlabelled(config, data, len(data.meta["labels"]), folder)
        done.write_text(json.dumps(counts), encoding="utf-8")
        if counts["held_out"]:
            context.log(
                f"{counts['held_out']} unlabelled texts are rows of the validation or test split, and are left out"
            )
    more = datasets.Dataset.from_file(str(split_path(folder, NAME)))
    return datasets.concatenate_datasets([labelled.select_columns(more.column_names), more]), len(more)


def _tokenize(name: str, split: Any, student: Student, data: Artifact, context: Context) -> TokenizedSplit:
    labels = student.loaded.labels
    places = [labels.index(label) for label in data.meta["labels"]]
    order = np.asarray([*places, NO_LABEL])
    return tokenize_split(
        split,
        student.loaded.tokenizer,
        context.work / "tokens" / name,
        max_length=student.loaded.max_length,
        encode_labels=lambda rows: order[labels_of(rows, len(order))],
        progress=lambda done, total: context.progress(done, total, f"{name} rows tokenized"),
    )


def _evaluation(loaded: LoadedCheckpoint, rows: TokenizedSplit, wanted: np.ndarray, config: DistillConfig) -> Any:
    """A function that gives a model's figures on the validation rows, its agreement with the teacher among them."""
    collator = collator_of(loaded.tokenizer, loaded.max_length)
    taught = np.asarray(wanted).argmax(axis=1)
    scoring = scoring_of(loaded.task, loaded.labels)

    def evaluate(model: Any) -> Figures:
        logits = logits_on(model, rows, collator, len(loaded.labels), config.batch_size)
        loss = float(mean_loss(loaded.task, torch.from_numpy(logits), torch.from_numpy(rows.labels)))
        agreement = accuracy(taught, logits, loaded.labels)
        return {**scoring.compute(rows.labels, logits), "loss": loss, "agreement": agreement}

    return evaluate


def _course(config: DistillConfig) -> Course:
    return Course(
        name=STEP,
        rows=config.rows,
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        rows_setting="distill.rows",
        rate_setting="distill.learning_rate",
        full_precision=config.mixed_precision == "fp32",
    )


def _say_how_it_went(trained: Trained, config: DistillConfig, context: Context) -> None:
    if len(trained.losses) < config.epochs:
        context.log(
            f"stopped after epoch {len(trained.losses)}: {config.metric} has not improved for "
            f"{config.early_stopping} epochs"
        )
    agreement = trained.figures[trained.best_epoch - 1]["agreement"]
    context.log(
        f"kept epoch {trained.best_epoch} of {len(trained.losses)}: {agreement:.1%} of the validation rows have the "
        "teacher's label"
    )


def _save(student: Student, context: Context) -> None:
    loaded = student.loaded
    loaded.model.cpu()
    # Tokenizing has left its truncation in the tokenizer at hand, and saving would keep that.
    fresh = student.fresh_tokenizer(context)
    with quiet_transformers():
        save_checkpoint(LoadedCheckpoint(loaded.model, fresh, loaded.labels, loaded.max_length), context.out)
