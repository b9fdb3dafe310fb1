"""The Hugging Face Trainer of transformers 5.23: all that holds for this version of it is here.

Where it departs from the stock Trainer, that is for a killed run to end like one that was not: the order of the rows
comes from the seed and the epoch (`sampling`), a save counts only once it is complete, and the best save is found
by its step, not by a path (`saves`).
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from ftx import FtxError
from ftx.errors import ExitCode
from ftx.tasks import LOWER_IS_BETTER
from ftx_plugins.checkpoint import quiet_transformers
from ftx_plugins.train import processes, saves
from ftx_plugins.train.average import FILE as AVERAGE
from ftx_plugins.train.average import WeightAverage, averaging
from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.freeze import encoder_layers
from ftx_plugins.train.frozen import FrozenPart
from ftx_plugins.train.head import is_head_parameter
from ftx_plugins.train.job import Job
from ftx_plugins.train.losses import RunningLoss
from ftx_plugins.train.report import history
from ftx_plugins.train.sampling import EpochOrder, LongestFirst, ShareOfBatches
from ftx_plugins.train.tokens import TokenizedSplit

SECONDS_BETWEEN_REPORTS = 0.2
SPEED = ("eval_runtime", "eval_samples_per_second", "eval_steps_per_second")
"""What the Trainer says of an evaluation that is no quality of the model."""
OPTIMIZERS = {"adamw": TrainingArguments.default_optim, "adafactor": "adafactor"}
SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


@dataclass(frozen=True)
class Training:
    """What training left: the folder of the best epoch's model, and the Trainer's log."""

    best: Path
    best_step: int
    steps_per_epoch: int
    log: Sequence[Mapping[str, Any]]
    """As the Trainer writes it: entries with `loss` since the one before, and entries with `eval_…` figures."""
    stopped_early: bool
    average: Path | None = None
    """The file with the mean of the last steps' weights, where they were averaged."""


def train(job: Job, model: Any, frozen: FrozenPart | None, *, seed: int, folder: Path) -> Training:
    """Train `model` in place, or go on from the last complete save in `folder`. `seed` gives order and dropout.

    `frozen` is given where the job's rows hold what the frozen layers give; those are skipped. Raises `FtxError` where
    the validation loss is no longer a number.
    """
    config, context = job.config, job.context
    folder.mkdir(exist_ok=True)
    with quiet_transformers(), warnings.catch_warnings():
        # What torch and accelerate warn about here is of their own making, and a terminal belongs to the progress.
        warnings.simplefilter("ignore")
        loss = RunningLoss(job.objective)
        average = averaging(config, model)
        trainer = FineTuner(
            model=model,
            args=_arguments(config, job, folder, seed),
            data_collator=job.collator,
            train_dataset=job.rows,
            eval_dataset=job.validation,
            compute_loss_func=loss,
            compute_metrics=lambda prediction: job.figures_of_batches(prediction.label_ids, prediction.predictions),
            callbacks=[*_callbacks(config, loss, job), *([average] if average else [])],
        )
        trainer.settings = config
        trainer.frozen = frozen
        trainer.average = average
        trainer.remove_callback(PrinterCallback)
        if processes.count() > 1:
            # The Trainer has seeded all processes alike: their rows would be dropped out alike.
            torch.manual_seed(seed + processes.rank())
        if config.compile:
            # In place, so that names of weights stay as they are in saves; lengths differ from batch to batch.
            model.compile(dynamic=True)
        steps = math.ceil(math.ceil(len(job.rows) / config.batch_size) / config.gradient_accumulation)
        with processes.leader_first():
            last = saves.last_complete(folder)
        if last is None:
            trainer.train()
        elif not _is_finished(last, config, steps):
            context.log(f"resumed {_place(last.step, steps)}")
            if average:
                average.load(last.path)
            trainer.train(resume_from_checkpoint=str(last.path))
        else:
            context.log("training had finished before: its best epoch is taken")
            trainer.state = TrainerState.load_from_json(str(last.path / saves.STATE))
    return _result(trainer.state, folder, config, steps)


class FineTuner(Trainer):  # type: ignore[misc]
    """The Trainer with our order of rows, R-Drop's two passes, a learning rate for each layer, and saves that are
    marked once they are complete."""

    settings: TrainConfig
    frozen: FrozenPart | None
    average: WeightAverage | None
    optimizer: Any

    def get_train_dataloader(self) -> Any:
        if processes.count() == 1:
            return super().get_train_dataloader()
        # Accelerate's way of sharing fills the last batch of an epoch up with rows of the first.
        share = ShareOfBatches(self._get_train_sampler(), processes.rank(), processes.count())
        loader = DataLoader(self.train_dataset, batch_sampler=share, collate_fn=self.data_collator)
        device = self.accelerator.device
        return prepare_data_loader(loader, device, num_processes=1, process_index=0, put_on_device=True)

    def _get_train_sampler(self, train_dataset: TokenizedSplit | None = None) -> EpochOrder:
        rows = train_dataset if train_dataset is not None else self.train_dataset
        return EpochOrder(
            rows.lengths,
            self.settings.batch_size,
            self.args.seed,
            group_by_length=self.settings.group_by_length,
            balance=rows.labels if self.settings.sampler == "balanced" else None,
        )

    def _get_eval_sampler(self, eval_dataset: TokenizedSplit) -> LongestFirst:
        return LongestFirst(eval_dataset.lengths)

    def compute_loss(self, model: Any, inputs: dict[str, torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        if self.settings.r_drop and model.training:
            # One pass over the batch twice: dropout differs between the halves.
            twice = {name: torch.cat([values, values]) for name, values in inputs.items() if name != "labels"}
            inputs = {**twice, "labels": inputs["labels"]}
        if self.frozen is not None:
            self.frozen.give(inputs.pop("hidden"))
        return super().compute_loss(model, inputs, *args, **kwargs)

    def create_optimizer(self, model: Any = None) -> Any:
        if self.optimizer is None and self.settings.layer_decay < 1:
            trained = self.model if model is None else model
            decayed = self.get_decay_parameter_names(trained)
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, trained)
            self.optimizer = kind(_groups_by_depth(trained, set(decayed), self.settings), **options)
        return super().create_optimizer(model)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir)
        save = saves.save_of(folder, self.state.global_step)
        if processes.is_leader():
            saves.unmark(save)
        super()._save_checkpoint(model, trial)
        if self.average and processes.is_leader():
            self.average.save(save)
        processes.wait_for_all()  # each writes the state of its own random numbers
        if processes.is_leader():
            saves.mark_complete(save)
            saves.keep_best_and_last(folder, self.state.best_global_step)


class Reporter(TrainerCallback):  # type: ignore[misc]
    """Says through the context how far training is, and what each evaluation gave."""

    def __init__(self, loss: RunningLoss, job: Job) -> None:
        self._loss = loss
        self._context = job.context
        self._shown = job.scoring.figures[:2]
        self._next = 0.0
        self._figures: dict[str, float] = {}

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        now = time.monotonic()
        if now < self._next and state.global_step < state.max_steps:
            return
        self._next = now + SECONDS_BETWEEN_REPORTS
        self._context.progress(
            state.global_step,
            state.max_steps,
            "steps",
            epoch=round(state.epoch, 2),
            loss=round(self._loss.value(), 4),
            **self._figures,
        )

    def on_evaluate(
        self, args: Any, state: TrainerState, control: TrainerControl, metrics: Mapping[str, Any], **kwargs: Any
    ) -> None:
        loss = metrics["eval_loss"]
        if not math.isfinite(loss):
            raise FtxError(
                f"training diverged: in epoch {round(state.epoch)} the validation loss is {loss}",
                f"lower train.learning_rate (it is {args.learning_rate:g})",
                'or set train.mixed_precision = "fp32"',
                code=ExitCode.STEP_FAILED,
            )
        self._figures = {name: round(metrics[f"eval_{name}"], 4) for name in self._shown}
        shown = ", ".join(f"{name} {value:.4f}" for name, value in self._figures.items())
        steps = state.max_steps // state.num_train_epochs
        trained = history(state.log_history, steps, self._shown)[-1]["train_loss"]
        self._context.log(
            f"epoch {round(state.epoch)}: training loss {trained:.4f}, validation loss {loss:.4f}, {shown}"
        )
        quality = {
            name.removeprefix("eval_"): value
            for name, value in metrics.items()
            if name.startswith("eval_") and isinstance(value, float) and name not in SPEED
        }
        self._context.evaluated(round(state.epoch), state.num_train_epochs, **quality)


class TimedSaves(TrainerCallback):  # type: ignore[misc]
    """Asks for a save after so many seconds within an epoch; never at its end, which saves once it is evaluated."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._last = time.monotonic()

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        at_end = state.global_step % (state.max_steps // state.num_train_epochs) == 0
        due = processes.as_the_leader_says(time.monotonic() - self._last >= self._seconds)
        if not at_end and due:
            control.should_save = True
            control.should_log = True  # the loss up to here is in the save, and not lost to the epoch's mean


def _arguments(config: TrainConfig, job: Job, folder: Path, seed: int) -> TrainingArguments:
    precision = job.precision
    arguments = TrainingArguments(
        output_dir=str(folder),
        seed=seed,
        use_cpu=job.context.device == "cpu",
        num_train_epochs=config.epochs,
        per_device_train_batch_size=max(config.batch_size // processes.count(), 1),
        per_device_eval_batch_size=config.eval_batch_size,
        gradient_accumulation_steps=config.gradient_accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type=SCHEDULES[config.schedule],
        warmup_steps=config.warmup,
        optim=OPTIMIZERS[config.optimizer],
        weight_decay=config.weight_decay,
        gradient_checkpointing=config.gradient_checkpointing,
        max_grad_norm=config.max_grad_norm,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        metric_for_best_model=job.metric,
        greater_is_better=job.metric not in LOWER_IS_BETTER,
        restore_callback_states_from_checkpoint=True,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to="none",
    )
    if precision == "fp32":
        arguments.mixed_precision = "no"  # else the environment's ACCELERATE_MIXED_PRECISION would count
    arguments._n_gpu = min(arguments.n_gpu, 1)  # a batch is `batch_size` rows, however many GPUs there are
    return arguments


def _groups_by_depth(model: Any, decayed: set[str], config: TrainConfig) -> list[dict[str, Any]]:
    """Parameters with the learning rate of their depth: the head's in full, the embeddings' the lowest.

    Source: Howard and Ruder 2018, "Universal Language Model Fine-tuning" (discriminative fine-tuning).
    """
    layers = encoder_layers(model)
    depth_of = {
        id(parameter): len(layers) - place for place, layer in enumerate(layers) for parameter in layer.parameters()
    }
    groups: dict[tuple[int, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            below = 0 if is_head_parameter(model, name) else len(layers) + 1
            groups.setdefault((depth_of.get(id(parameter), below), name in decayed), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": config.learning_rate * config.layer_decay**depth,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (depth, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def _callbacks(config: TrainConfig, loss: RunningLoss, job: Job) -> list[TrainerCallback]:
    callbacks: list[TrainerCallback] = [Reporter(loss, job)]
    if config.early_stopping:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=config.early_stopping))
    if config.save_minutes:
        callbacks.append(TimedSaves(config.save_minutes * 60))
    return callbacks


def _is_finished(save: saves.Save, config: TrainConfig, steps_per_epoch: int) -> bool:
    """Whether the run was killed after its last epoch: the Trainer would train on after an early stop."""
    return save.step >= config.epochs * steps_per_epoch or _stopped_early(save.state["stateful_callbacks"], config)


def _stopped_early(callbacks: Mapping[str, Any], config: TrainConfig) -> bool:
    state = callbacks.get(EarlyStoppingCallback.__name__)
    return bool(state and state["attributes"]["early_stopping_patience_counter"] >= config.early_stopping)


def _place(step: int, steps_per_epoch: int) -> str:
    epoch, within = divmod(step, steps_per_epoch)
    if not within:
        return f"from epoch {epoch}"
    return f"from step {within} of {steps_per_epoch} of epoch {epoch + 1}"


def _result(state: TrainerState, folder: Path, config: TrainConfig, steps_per_epoch: int) -> Training:
    stopped = state.global_step < config.epochs * steps_per_epoch
    best = saves.save_of(folder, state.best_global_step)
    average = saves.save_of(folder, state.global_step) / AVERAGE
    return Training(
        best,
        state.best_global_step,
        steps_per_epoch,
        state.log_history,
        stopped,
        average if average.exists() else None,
    )
