"""Recovery: the pruned model is trained to be again as the model was before, by distillation.

The loss is cross-entropy with the labels, plus the divergence from the teacher's softened probabilities (Hinton et al.
2015), plus the distance of hidden states from the teacher's (Jiao et al. 2020, "TinyBERT"), in units of their variance.
Batches hold rows of like length, in an order drawn from the seed and the epoch; each epoch is saved, so that a killed
run goes on from it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, kl_div
from transformers import get_linear_schedule_with_warmup, set_seed

from ftx import Artifact, Context, FtxError
from ftx.errors import ExitCode
from ftx_plugins.checkpoint import LoadedCheckpoint
from ftx_plugins.data.splits import load_split
from ftx_plugins.prune.calibration import label_ids
from ftx_plugins.prune.config import RecoveryConfig
from ftx_plugins.train.precision import processor_has_bf16
from ftx_plugins.train.sampling import EpochOrder
from ftx_plugins.train.tokens import Collator, TokenizedSplit, tokenize_split

TEMPERATURE = 2.0
WARMUP = 0.1
WEIGHT_DECAY = 0.01
MAX_GRAD_NORM = 1.0
SECONDS_BETWEEN_REPORTS = 0.2


def recover(
    student: LoadedCheckpoint,
    teacher: Any,
    layers: Sequence[int],
    data: Artifact,
    config: RecoveryConfig,
    context: Context,
) -> dict[str, Any]:
    """Train the student in place, or go on from its last epoch under `context.work`; returns losses and rows.

    `layers[i]` is the teacher's layer that the student's layer i was. Raises `FtxError` where the loss is no number.
    """
    if not config.recovery_epochs:
        return {"rows": 0, "epochs": 0, "losses": []}
    rows = _tokenize(student, data, config, context)
    trainer = _Distiller(student, teacher, layers, rows, config, context)
    first, losses = trainer.resume()
    if first:
        context.log(f"recovery resumed from epoch {first}")
    for epoch in range(first, config.recovery_epochs):
        losses.append(trainer.epoch(epoch))
        trainer.save(epoch + 1, losses)
    student.model.eval()
    return {"rows": len(rows), "epochs": config.recovery_epochs, "losses": losses, "precision": trainer.precision}


def distance(
    student: Any, teacher: Any, layers: Sequence[int], labels: torch.Tensor, seen: torch.Tensor
) -> torch.Tensor:
    """The loss of one batch, from both models' outputs with hidden states; `seen` is the attention mask, as bool."""
    logits = student.logits.float()
    loss = cross_entropy(logits, labels)
    softened = (logits / TEMPERATURE).log_softmax(dim=1)
    targets = (teacher.logits.float() / TEMPERATURE).log_softmax(dim=1)
    loss = loss + TEMPERATURE**2 * kl_div(softened, targets, log_target=True, reduction="batchmean")
    # The first hidden state is the embeddings'; layer i leaves the one behind it.
    for own, theirs in enumerate(layers):
        wanted = teacher.hidden_states[theirs + 1][seen].float()
        reached = student.hidden_states[own + 1][seen].float()
        loss = loss + (reached - wanted).pow(2).mean() / wanted.var() / len(layers)
    return loss


class _Distiller:
    """A student, its teacher, and the optimizer's state between them."""

    def __init__(
        self,
        student: LoadedCheckpoint,
        teacher: Any,
        layers: Sequence[int],
        rows: TokenizedSplit,
        config: RecoveryConfig,
        context: Context,
    ) -> None:
        self.model = student.model
        self.teacher = teacher
        self.layers = layers
        self.rows = rows
        self.config = config
        self.context = context
        self.folder = context.work / "recovery"
        has_bf16 = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if context.device == "cuda"
            else processor_has_bf16()
        )
        self.precision = "bf16" if has_bf16 else "fp32"
        tokenizer = student.tokenizer
        multiple = 8 if has_bf16 else 1
        self.collate = Collator(tokenizer.pad_token_id, tokenizer.padding_side == "left", multiple, student.max_length)
        self.order = EpochOrder(rows.lengths, config.batch_size, context.seed, group_by_length=True)
        self.steps = math.ceil(len(rows) / config.batch_size)
        total = self.steps * config.recovery_epochs
        self.optimizer = torch.optim.AdamW(_groups(self.model), lr=config.learning_rate)
        self.schedule = get_linear_schedule_with_warmup(self.optimizer, int(total * WARMUP), total)

    def epoch(self, epoch: int) -> float:
        """One pass over the rows; returns the mean loss."""
        set_seed(self.context.seed + epoch)  # dropout: a resumed epoch is like one that was not
        self.model.train()
        self.order.set_epoch(epoch)
        order = np.fromiter(self.order, dtype=np.int64)
        total = 0.0
        reported = 0.0
        for step in range(self.steps):
            batch = order[step * self.config.batch_size : (step + 1) * self.config.batch_size]
            total += self._step(batch) * len(batch)
            now = time.monotonic()
            if now - reported > SECONDS_BETWEEN_REPORTS or step + 1 == self.steps:
                reported = now
                mean = total / min((step + 1) * self.config.batch_size, len(order))
                done = epoch * self.steps + step + 1
                whole = self.steps * self.config.recovery_epochs
                self.context.progress(done, whole, "recovery steps", loss=round(mean, 4))
        return total / len(order)

    def _step(self, rows: np.ndarray) -> float:
        device = next(self.model.parameters()).device
        batch = {name: values.to(device) for name, values in self.collate([self.rows[row] for row in rows]).items()}
        labels = batch.pop("labels")
        with self._autocast():
            with torch.no_grad():
                wanted = self.teacher(**batch, output_hidden_states=True)
            reached = self.model(**batch, output_hidden_states=True)
        loss = distance(reached, wanted, self.layers, labels, batch["attention_mask"].bool())
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FtxError(
                f"the recovery diverged: its loss is {value}",
                f"lower prune.learning_rate (it is {self.config.learning_rate:g})",
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

    def save(self, epochs: int, losses: list[float]) -> None:
        """Keep what it takes to go on behind this epoch. The file appears whole, or not at all."""
        self.folder.mkdir(exist_ok=True)
        state = {
            "epochs": epochs,
            "losses": losses,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        draft = self.folder / "state.pt.tmp"
        torch.save(state, draft)
        draft.replace(self.folder / "state.pt")

    def resume(self) -> tuple[int, list[float]]:
        """How many epochs an earlier run has done, and their losses; the state is as it was then."""
        path = self.folder / "state.pt"
        if not path.exists():
            return 0, []
        state = torch.load(path, weights_only=True, map_location=self.context.device)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        return int(state["epochs"]), list(state["losses"])


def _groups(model: Any) -> list[dict[str, Any]]:
    """Weight decay for matrices, none for biases and norms."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [one for one in parameters if one.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [one for one in parameters if one.ndim < 2], "weight_decay": 0.0},
    ]


def _tokenize(student: LoadedCheckpoint, data: Artifact, config: RecoveryConfig, context: Context) -> TokenizedSplit:
    split = load_split(data, "train", max_rows=config.recovery_rows or None, seed=context.seed)
    if config.recovery_rows > len(split):
        context.warn(f"prune.recovery_rows = {config.recovery_rows}, but there are {len(split)}: all are taken")
    return tokenize_split(
        split,
        student.tokenizer,
        context.work / "tokens",
        max_length=student.max_length,
        label_ids=label_ids(data.meta["labels"], student.labels),
        progress=lambda done, total: context.progress(done, total, "rows tokenized"),
    )
