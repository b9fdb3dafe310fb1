"""`train:finetune`: fine-tune an encoder with a classification head.

The step leaves a checkpoint (configuration, weights, tokenizer) with the weights of the best epoch. What lets it go on
after a kill (tokens, saves with the optimizer's state) is in the work folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ftx import Artifact, Context, FtxError
from ftx.tasks import MULTI_LABEL, REGRESSION, TOKEN_CLASSIFICATION
from ftx_plugins.checkpoint import (
    THRESHOLDS_FIELD,
    LoadedCheckpoint,
    load_tokenizer,
    max_length_of,
    quiet_transformers,
    save_checkpoint,
)
from ftx_plugins.data.splits import load_split
from ftx_plugins.ensemble import describe_ensemble, make_ensemble, require_members
from ftx_plugins.tasks.alignment import Aligner, aligner_of
from ftx_plugins.tasks.encoding import encode_labels, scale_of
from ftx_plugins.tasks.scoring import scoring_of
from ftx_plugins.tasks.thresholds import choose_thresholds
from ftx_plugins.train import processes
from ftx_plugins.train.config import VOTES, TrainConfig
from ftx_plugins.train.finish import Finished, finish
from ftx_plugins.train.folds import cross_validate, has_folds
from ftx_plugins.train.fresh import fresh_model
from ftx_plugins.train.frozen import reuse_frozen
from ftx_plugins.train.job import Job
from ftx_plugins.train.logits import logits_on
from ftx_plugins.train.losses import objective_of
from ftx_plugins.train.precision_choice import choose_precision
from ftx_plugins.train.report import Figures, history
from ftx_plugins.train.soup import Soup, figures_of, make_soup, rank
from ftx_plugins.train.tokens import TokenizedSplit, collator_of, tokenize_split
from ftx_plugins.train.trainer import Training, train

GAP_ROWS = 2000
"""Training rows, at most, on which the best epoch is measured to tell over-fitting."""
GAP_WARNING = 0.1
USUAL_LEARNING_RATES = (1e-6, 1e-3)
LORA_LEARNING_RATE = 1e-4


def run(config: TrainConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Fine-tune `inputs["model"]` on `inputs["data"]`; returns the metrics of the best epoch.

    Raises `FtxError` where the labels do not fit the model's head, weights are missing, the device lacks the number
    format asked for, or training diverges.
    """
    started = time.monotonic()
    _warn_about_learning_rate(config, context)
    data = inputs["data"]
    crossed = has_folds(data, config)
    job, model = _prepare(config, inputs["model"].path, data, context)
    folds = None
    if crossed:
        model = None  # one model in memory at a time
        folds = cross_validate(job, data)
    trainings = {}
    for seed in config.seeds or (context.seed,):
        if config.seeds:
            context.log(f"seed {seed}")
        if model is None:
            model, _ = fresh_model(job.source, job.head.labels, job.scale, config, context)
        trainings[seed] = _train_seed(job, model, seed)
        model = None
    if not processes.is_leader():
        return {}
    finished = {seed: finish(job, training) for seed, training in trainings.items()}
    best, soup = _combine(job, finished)
    ensemble = describe_ensemble(best.model.config)
    if job.scoring.task == MULTI_LABEL and config.thresholds == "best-f1":
        job, soup = _with_thresholds(job, best, soup)
    gap = _gap(job, best, soup.figures[job.scoring.share])
    if job.scoring.task == REGRESSION:
        job.scale.fold(best.model)
    with quiet_transformers():
        save_checkpoint(best, context.out)
    training = trainings[soup.seeds[0]]
    epochs = history(training.log, training.steps_per_epoch, job.scoring.figures[:2])
    _say_how_it_went(job, training, epochs, gap)
    thresholds = {"thresholds": list(best.thresholds)} if best.thresholds else {}
    context.describe(
        labels=list(best.labels),
        task=context.model.task,
        max_length=job.max_length,
        base=inputs["model"].digest,
        **thresholds,
        **({"ensemble": ensemble} if ensemble else {}),
    )
    best_epoch = training.best_step // training.steps_per_epoch
    return {
        "validation": soup.figures,
        "train_loss": epochs[best_epoch - 1]["train_loss"],
        "gap": gap,
        "best_epoch": best_epoch,
        "epochs_run": len(epochs),
        **job.choice.metrics,
        "rows": len(job.rows),
        "validation_rows": len(job.validation),
        "truncated_rows": job.rows.truncated,
        "seconds_training": round(time.monotonic() - started, 2),
        "history": epochs,
        **({"folds": folds} if folds else {}),
        **({"average": finished[soup.seeds[0]].average} if config.average != "off" else {}),
        **(_about_seeds(finished, soup, config) if config.seeds else {}),
    }


def _prepare(config: TrainConfig, source: Path, data: Artifact, context: Context) -> tuple[Job, Any]:
    """The job, and the model of the first seed: it is loaded before the rows are tokenized, which takes longer."""
    names = tuple(data.meta["labels"])
    task = context.model.task
    if (made_for := data.meta.get("task", task)) != task:
        raise FtxError(f"the data set is for {made_for}, and model.task is {task}", "make it anew: ftx run data")
    scale = scale_of(data)
    model, head = fresh_model(source, names, scale, config, context)
    if config.combine in VOTES:
        require_members([model])
    with processes.leader_first():  # each would time for itself, and they might not agree
        choice = choose_precision(config.mixed_precision, model, context)
    if config.unfreeze_last is not None or config.lora_rank:
        frozen = sum(parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)
        context.log(f"{frozen / model.num_parameters():.0%} of the weights are frozen")
    max_length = min(config.max_length, max_length_of(model.config, _load_tokenizer(source, context)))
    # A trained head of a regression may call its output otherwise.
    places = np.asarray([head.labels.index(name) for name in names])

    encode: Callable[[Any], np.ndarray] | Aligner = partial(encode_labels, task=task, places=places, scale=scale)
    if of_tokens := task == TOKEN_CLASSIFICATION:
        encode = aligner_of(names, head.labels)

    with processes.leader_first():
        rows = _tokenize("train", data, source, max_length, encode, context)
        validation = _tokenize("validation", data, source, max_length, encode, context)
    _warn_about_truncation(rows, max_length, context)
    multiple = 1 if choice.precision == "fp32" else 8  # the widths that 16-bit matrix units take whole
    collator = collator_of(_load_tokenizer(source, context), max_length, multiple, tags=of_tokens)
    objective = objective_of(config, rows.labels, head.labels, task)
    scoring = scoring_of(task, head.labels, tolerance=data.meta.get("tolerance"))
    job = Job(source, head, max_length, rows, validation, collator, objective, choice, config, context, scoring, scale)
    return job, model


def _train_seed(job: Job, model: Any, seed: int) -> Training:
    folder = job.context.work / (f"trainer-{seed}" if job.config.seeds else "trainer")
    with processes.leader_first():
        frozen = reuse_frozen(job, model)
    return train(job, model, frozen, seed=seed, folder=folder)


def _combine(job: Job, finished: Mapping[int, Finished]) -> tuple[LoadedCheckpoint, Soup]:
    """The model of the only seed, or what `train.combine` makes of the seeds'."""
    config, context = job.config, job.context
    model = next(iter(finished.values())).model
    tokenizer = _load_tokenizer(job.source, context)
    best = LoadedCheckpoint(model.to(context.device), tokenizer, job.head.labels, job.max_length, job.scoring.task)
    figures = {seed: one.figures for seed, one in finished.items()}
    job.rows.hidden = job.validation.hidden = None
    if len(finished) == 1:
        [(seed, own)] = figures.items()
        return best, Soup((seed,), own)

    def evaluate(one: Any) -> Figures:
        return figures_of(one, job, job.validation)

    combine = config.combine
    if combine == "soft-vote" or combine == "hard-vote":
        ranked = rank(figures, job.metric)
        best.model = make_ensemble([finished[seed].model for seed in ranked], VOTES[combine]).to(context.device)
        context.log(f"of {len(finished)} seeds: all in the model, each as it is ({combine})")
        return best, Soup(ranked, evaluate(best.model))
    weights = {seed: one.model.state_dict() for seed, one in finished.items()}
    first = next(iter(weights))  # its model is the one that the averages are loaded into
    weights[first] = {name: value.cpu().clone() for name, value in weights[first].items()}
    soup = make_soup(model, weights, figures, combine, job.metric, evaluate)
    context.log(f"of {len(finished)} seeds: {', '.join(map(str, soup.seeds))} in the model ({combine})")
    return best, soup


def _about_seeds(finished: Mapping[int, Finished], soup: Soup, config: TrainConfig) -> dict[str, Any]:
    by_seed = {
        str(seed): {name: value for name, value in one.figures.items() if name != "per_class"}
        for seed, one in finished.items()
    }
    return {"seeds": by_seed, "combined": list(soup.seeds), "combine": config.combine}


def _warn_about_learning_rate(config: TrainConfig, context: Context) -> None:
    low, high = USUAL_LEARNING_RATES
    if not low <= config.learning_rate <= high:
        context.warn(
            f"train.learning_rate = {config.learning_rate:g} is outside {low:g} to {high:g}, where fine-tuning works"
        )
    elif config.lora_rank and config.learning_rate < LORA_LEARNING_RATE:
        context.warn(
            f"train.learning_rate = {config.learning_rate:g} is low for LoRA, whose adapters start at zero: "
            "1e-4 to 5e-4 is usual"
        )


def _load_tokenizer(source: Path, context: Context) -> Any:
    return load_tokenizer(source, trust_remote_code=context.model.trust_remote_code)


def _load_split(data: Artifact, name: str) -> Any:
    split = load_split(data, name)
    if not len(split):
        raise FtxError(f"the data set has no {name} rows", "see what became of them: ftx show latest:data")
    return split


def _tokenize(
    name: str,
    data: Artifact,
    source: Path,
    max_length: int,
    encode: Callable[[Any], np.ndarray] | Aligner,
    context: Context,
) -> TokenizedSplit:
    return tokenize_split(
        _load_split(data, name),
        _load_tokenizer(source, context),
        context.work / "tokens" / name,
        max_length=max_length,
        encode_labels=encode,
        progress=lambda done, total: context.progress(done, total, f"{name} rows tokenized"),
    )


def _warn_about_truncation(rows: TokenizedSplit, max_length: int, context: Context) -> None:
    if rows.truncated:
        share = rows.truncated / len(rows)
        context.warn(
            f"{rows.truncated} of {len(rows)} training rows ({share:.1%}) are cut at max_length = {max_length} tokens"
        )
    if rows.unaligned:
        context.warn(
            f"{rows.unaligned} entities of the training rows begin or end within what the tokenizer takes for a word, "
            "or are cut off: of a word, the model learns and finds the whole"
        )


def _with_thresholds(job: Job, best: LoadedCheckpoint, soup: Soup) -> tuple[Job, Soup]:
    """The thresholds of the best model, put into its configuration; the job and the figures that have them."""
    logits = _logits(job, best, job.validation)
    thresholds = choose_thresholds(job.validation.labels.astype(np.int64), logits)
    setattr(best.model.config, THRESHOLDS_FIELD, list(thresholds))
    job.context.log(
        "thresholds: " + ", ".join(f"{name} {each:.2f}" for name, each in zip(best.labels, thresholds, strict=True))
    )
    job = replace(job, scoring=scoring_of(MULTI_LABEL, best.labels, thresholds=thresholds))
    return job, Soup(soup.seeds, {**soup.figures, **job.figures(job.validation.labels, logits)})


def _gap(job: Job, best: LoadedCheckpoint, validation: float) -> float:
    """The task's figure on training rows, taken at even distances, minus that on the validation rows."""
    count = min(len(job.validation), GAP_ROWS, len(job.rows))
    taken = job.rows.select(np.linspace(0, len(job.rows) - 1, count).astype(int))
    figures = job.figures(taken.labels, _logits(job, best, taken))
    return float(figures[job.scoring.share]) - validation


def _logits(job: Job, best: LoadedCheckpoint, rows: TokenizedSplit) -> np.ndarray:
    return logits_on(best.model, rows, job.collator, len(job.head.labels), job.config.eval_batch_size)


def _say_how_it_went(job: Job, training: Training, epochs: list[dict[str, Any]], gap: float) -> None:
    config, context = job.config, job.context
    best_epoch = training.best_step // training.steps_per_epoch
    if training.stopped_early:
        context.log(
            f"stopped after epoch {len(epochs)}: {job.metric} has not improved for {config.early_stopping} epochs"
        )
    context.log(f"kept epoch {best_epoch} of {len(epochs)}")
    # Below some hundred rows the gap is as much noise as it is over-fitting.
    if gap > GAP_WARNING and len(job.validation) >= 200:
        context.warn(
            f"over-fitting: {job.scoring.share} is {gap:.3f} higher on training rows than on validation rows; "
            "more rows, fewer epochs or more dropout would help"
        )
