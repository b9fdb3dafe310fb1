"""Distillation: a changed model (pruned, quantized) is trained to be again as the model was before.

The loss is the task's own with the labels (cross-entropy), plus the divergence from the teacher's softened
probabilities (Hinton et al. 2015), plus the distance of hidden states from the teacher's (Jiao et al. 2020,
"TinyBERT"), in units of their variance; for a student that shares neither layers nor tokenizer with its teacher, the
logits that the teacher gave before are enough.
Batches hold rows of like length, in an order drawn from the seed and the epoch. The state is saved behind each epoch
and each minute, with that of the random numbers: a killed run goes on from there, and arrives where it would have.
Where validation rows choose, the weights of the best epoch are kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import get_linear_schedule_with_warmup, set_seed

from ftx import Artifact, Context, FtxError
from ftx.errors import ExitCode
from ftx.tasks import LOWER_IS_BETTER, TEXT_CLASSIFICATION
from ftx_plugins.checkpoint import LoadedCheckpoint
from ftx_plugins.data.splits import load_split
from ftx_plugins.tasks.encoding import encoder_of
from ftx_plugins.tasks.learning import divergence, mean_loss
from ftx_plugins.train.precision import has_bf16
from ftx_plugins.train.precision_choice import PrecisionChoice, choose_precision
from ftx_plugins.train.sampling import EpochOrder
from ftx_plugins.train.tokens import TokenizedSplit, collator_of, tokenize_split

TEMPERATURE = 2.0
WARMUP = 0.1
WEIGHT_DECAY = 0.01
MAX_GRAD_NORM = 1.0
SECONDS_BETWEEN_REPORTS = 0.2
SECONDS_BETWEEN_SAVES = 60.0
NO_LABEL = -100
"""The label of a row that has none."""


@dataclass(frozen=True)
class Course:
    """What is trained for how long, and how messages and saves call it."""

    name: str
    """Such as `recovery`: the folder of its saves under the work folder, too."""
    rows: int
    """Rows of the training split, each class in proportion; 0: all."""
    epochs: int
    learning_rate: float
    """At its peak."""
    batch_size: int
    rows_setting: str
    rate_setting: str
    full_precision: bool = False
    """Compute in fp32 even where bf16 is faster, whose 8 digits are no more than int8 has."""


def distill(
    student: LoadedCheckpoint, teacher: Any, layers: Sequence[int], data: Artifact, course: Course, context: Context
) -> dict[str, Any]:
    """Train the student in place, or go on from its last save under `context.work`; returns losses and rows.

    `layers[i]` is the teacher's layer that the student's layer i was. Raises `FtxError` where the loss is no number.
    """
    if not course.epochs:
        return {"rows": 0, "epochs": 0, "losses": []}
    rows = _tokenize(student, data, course, context)
    trained = learn(student, rows, LiveTeacher(teacher, layers, student.task), course, context)
    return {
        "rows": len(rows),
        "epochs": course.epochs,
        "losses": trained.losses,
        **trained.choice.metrics,
    }


class Teacher(Protocol):
    """What a student is held against."""

    @property
    def hidden_states(self) -> bool:
        """Whether the student's outputs have to hold its hidden states."""
        ...

    def answer(self, batch: dict[str, torch.Tensor], rows: np.ndarray) -> Any:
        """What it says to a batch, which holds these `rows`."""
        ...

    def loss(self, reached: Any, answer: Any, labels: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """The loss of the student's outputs on a batch; `labels` are as `total_loss` takes them, `seen` the mask."""
        ...


@dataclass(frozen=True)
class LiveTeacher:
    """A model that reads the same tokens; `layers[i]` is its layer that the student's layer i was."""

    model: Any
    layers: Sequence[int]
    task: str = TEXT_CLASSIFICATION
    hidden_states: bool = True

    def answer(self, batch: dict[str, torch.Tensor], rows: np.ndarray) -> Any:
        with torch.no_grad():
            return self.model(**batch, output_hidden_states=True)

    def loss(self, reached: Any, answer: Any, labels: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        return distance(reached, answer, self.layers, labels, seen, self.task)


@dataclass(frozen=True)
class KeptLogits:
    """A teacher's logits on all rows, float32 of shape (rows, classes), in the order of the student's labels.

    `weight`, from 0 to 1, is the share of the teacher in the loss; labels that are `NO_LABEL` count nothing.
    """

    logits: np.ndarray
    temperature: float
    weight: float
    hidden_states: bool = False

    def answer(self, batch: dict[str, torch.Tensor], rows: np.ndarray) -> Any:
        return torch.from_numpy(self.logits[rows]).to(batch["input_ids"].device)

    def loss(self, reached: Any, answer: Any, labels: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        logits = reached.logits.float()
        apart = divergence(TEXT_CLASSIFICATION, logits, answer, self.temperature)
        # A mean over the labelled rows would make much of a label that is alone in its batch.
        wrong = cross_entropy(logits, labels, ignore_index=NO_LABEL, reduction="sum") / len(labels)
        return self.weight * self.temperature**2 * apart + (1 - self.weight) * wrong


@dataclass(frozen=True)
class Selection:
    """How the epoch whose weights are kept is chosen: `evaluate` gives figures, `metric` among them."""

    evaluate: Callable[[Any], dict[str, Any]]
    metric: str
    """`loss`, of which less is better, or a figure of which more is."""
    patience: int
    """Epochs without a better one after which training stops; 0: never."""


@dataclass(frozen=True)
class Trained:
    """How a training went."""

    losses: list[float]
    """The mean loss of each epoch."""
    figures: list[dict[str, Any]]
    """Of each epoch, where they were evaluated."""
    best_epoch: int
    """Counted from 1: the one whose weights the student has."""
    choice: PrecisionChoice


def learn(
    student: LoadedCheckpoint,
    rows: TokenizedSplit,
    teacher: Teacher,
    course: Course,
    context: Context,
    selection: Selection | None = None,
) -> Trained:
    """Train the student in place on `rows`, or go on from its last save under `context.work`.

    Without a `selection` it ends with the weights of the last epoch. Raises `FtxError` where the loss is no number.
    """
    trainer = _Distiller(student, teacher, rows, course, context, selection)
    trainer.resume()
    while not trainer.finished():
        trainer.epoch()
    trainer.take_best()
    student.model.eval()
    place = trainer.place
    best_epoch = place.epoch if place.best is None else place.best + 1
    return Trained(place.losses, place.figures, best_epoch, trainer.choice)


def distance(
    student: Any,
    teacher: Any,
    layers: Sequence[int],
    labels: torch.Tensor,
    seen: torch.Tensor,
    task: str = TEXT_CLASSIFICATION,
) -> torch.Tensor:
    """The loss of one batch, from both models' outputs with hidden states; `seen` is the attention mask, as bool."""
    loss = mean_loss(task, student.logits, labels)
    loss = loss + TEMPERATURE**2 * divergence(task, student.logits, teacher.logits, TEMPERATURE)
    # The first hidden state is the embeddings'; layer i leaves the one behind it.
    for own, theirs in enumerate(layers):
        wanted = teacher.hidden_states[theirs + 1][seen].float()
        reached = student.hidden_states[own + 1][seen].float()
        loss = loss + (reached - wanted).pow(2).mean() / wanted.var() / len(layers)
    return loss


@dataclass
class _Place:
    """How far the training is: `step` steps into `epoch`, whose losses sum up to `total` over its rows."""

    epoch: int = 0
    step: int = 0
    total: float = 0.0
    losses: list[float] = field(default_factory=list)
    """The mean loss of each epoch that is done."""
    figures: list[dict[str, Any]] = field(default_factory=list)
    best: int | None = None
    """The epoch with the best figures, counted from 0, where they were evaluated."""


class _Distiller:
    """A student, its teacher, and the optimizer's state between them."""

    def __init__(
        self,
        student: LoadedCheckpoint,
        teacher: Teacher,
        rows: TokenizedSplit,
        course: Course,
        context: Context,
        selection: Selection | None,
    ) -> None:
        self.model = student.model
        self.teacher = teacher
        self.selection = selection
        self.rows = rows
        self.course = course
        self.context = context
        self.folder = context.work / course.name
        self.place = _Place()
        self.saved = time.monotonic()
        # Without bf16 a GPU would train in fp16, which needs its losses scaled.
        in_fp32 = course.full_precision or not has_bf16(context.device)
        self.choice = PrecisionChoice("fp32") if in_fp32 else choose_precision("auto", self.model, context)
        self.precision = self.choice.precision
        self.collate = collator_of(student.tokenizer, student.max_length, 8 if self.precision == "bf16" else 1)
        self.order = EpochOrder(rows.lengths, course.batch_size, context.seed, group_by_length=True)
        self.steps = math.ceil(len(rows) / course.batch_size)
        total = self.steps * course.epochs
        self.optimizer = torch.optim.AdamW(_groups(self.model), lr=course.learning_rate)
        self.schedule = get_linear_schedule_with_warmup(self.optimizer, int(total * WARMUP), total)

    def epoch(self) -> None:
        """Go through the rows once, or through those that are left of them."""
        place, size = self.place, self.course.batch_size
        if not place.step:
            set_seed(self.context.seed + place.epoch)  # dropout: a resumed epoch is like one that was not
        self.model.train()
        self.order.set_epoch(place.epoch)
        order = np.fromiter(self.order, dtype=np.int64)
        reported = 0.0
        while place.step < self.steps:
            batch = order[place.step * size : (place.step + 1) * size]
            place.total += self._step(batch) * len(batch)
            place.step += 1
            now = time.monotonic()
            if now - reported > SECONDS_BETWEEN_REPORTS or place.step == self.steps:
                reported = now
                mean = place.total / min(place.step * size, len(order))
                done, whole = place.epoch * self.steps + place.step, self.steps * self.course.epochs
                self.context.progress(done, whole, f"{self.course.name} steps", loss=round(mean, 4))
            if now - self.saved > SECONDS_BETWEEN_SAVES and place.step < self.steps:
                self.save()
        losses = [*place.losses, place.total / len(order)]
        figures, best = self._evaluate()
        self.place = _Place(place.epoch + 1, losses=losses, figures=figures, best=best)
        self.save()
        for path in self.folder.glob("best-*.pt"):
            if path != self._best(best):
                path.unlink()

    def finished(self) -> bool:
        place, selection = self.place, self.selection
        if selection is not None and selection.patience and place.best is not None:
            stopped = place.epoch - 1 - place.best >= selection.patience
        else:
            stopped = False
        return stopped or place.epoch >= self.course.epochs

    def take_best(self) -> None:
        """Give the model the weights of the best epoch, where one was chosen."""
        if self.place.best is not None and self.place.best != self.place.epoch - 1:
            self.model.load_state_dict(torch.load(self._best(self.place.best), weights_only=True))

    def _evaluate(self) -> tuple[list[dict[str, Any]], int | None]:
        """The figures of all epochs up to this one, and the best of them, whose weights are kept."""
        place, selection = self.place, self.selection
        if selection is None:
            return [], None
        self.model.eval()
        figures = [*place.figures, selection.evaluate(self.model)]
        sign = -1 if selection.metric in LOWER_IS_BETTER else 1
        scores = [sign * one[selection.metric] for one in figures]
        best = scores.index(max(scores))
        if best == place.epoch:
            # Under the epoch's own name: a kill before the save below must not leave the save before without its best.
            self.folder.mkdir(exist_ok=True)
            _write(self.model.state_dict(), self._best(best))
        shown = ", ".join(f"{name} {value:.4f}" for name, value in figures[-1].items() if isinstance(value, float))
        self.context.log(f"epoch {place.epoch + 1}: {shown}")
        return figures, best

    def _best(self, epoch: int | None) -> Path:
        return self.folder / f"best-{epoch}.pt"

    def _step(self, rows: np.ndarray) -> float:
        device = next(self.model.parameters()).device
        batch = {name: values.to(device) for name, values in self.collate([self.rows[row] for row in rows]).items()}
        labels = batch.pop("labels")
        options = {"output_hidden_states": True} if self.teacher.hidden_states else {}
        with self._autocast():
            answer = self.teacher.answer(batch, rows)
            reached = self.model(**batch, **options)
        loss = self.teacher.loss(reached, answer, labels, batch["attention_mask"].bool())
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FtxError(
                f"the {self.course.name} diverged: its loss is {value}",
                f"lower {self.course.rate_setting} (it is {self.course.learning_rate:g})",
                code=ExitCode.STEP_FAILED,
            )
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRAD_NORM)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return value

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.context.device, torch.bfloat16, enabled=self.precision == "bf16")

    def save(self) -> None:
        """Keep what it takes to go on from here. The file appears whole, or not at all."""
        self.folder.mkdir(exist_ok=True)
        state = {
            "place": asdict(self.place),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if self.context.device == "cuda" else None,
        }
        _write(state, self.folder / "state.pt")
        self.saved = time.monotonic()

    def resume(self) -> None:
        """Take up the state that an earlier run has saved, if one has."""
        path = self.folder / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True, map_location="cpu")
        self.place = _Place(**state["place"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"])
        self.context.log(f"{self.course.name} resumed at epoch {self.place.epoch}, step {self.place.step}")


def _write(state: dict[str, Any], path: Path) -> None:
    """Tensors and plain values into a file that appears whole, or not at all."""
    draft = path.with_suffix(".tmp")
    torch.save(state, draft)
    draft.replace(path)


def _groups(model: Any) -> list[dict[str, Any]]:
    """Weight decay for matrices, none for biases and norms."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [one for one in parameters if one.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [one for one in parameters if one.ndim < 2], "weight_decay": 0.0},
    ]


def _tokenize(student: LoadedCheckpoint, data: Artifact, course: Course, context: Context) -> TokenizedSplit:
    split = load_split(data, "train", max_rows=course.rows or None, seed=context.seed)
    if course.rows > len(split):
        context.warn(f"{course.rows_setting} = {course.rows}, but there are {len(split)}: all are taken")
    return tokenize_split(
        split,
        student.tokenizer,
        context.work / "tokens",
        max_length=student.max_length,
        encode_labels=encoder_of(data, student),
        progress=lambda done, total: context.progress(done, total, "rows tokenized"),
    )
