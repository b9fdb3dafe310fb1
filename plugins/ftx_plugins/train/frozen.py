"""What the frozen layers give, computed once and read back in every epoch.

work/frozen/train/hidden.bin   float32, shape (tokens of all rows, hidden size), rows end to end as in the token files
                  place.json   how many rows are done, in the order below; written now and then, so that a killed run
                               goes on from there

It is exact: frozen modules drop nothing (`unfreeze_last` holds them in evaluation mode), so that in every epoch they
would give the same.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ftx import Context
from ftx_plugins.checkpoint import batches_of_like_length
from ftx_plugins.train.freeze import encoder_layers
from ftx_plugins.train.job import Job
from ftx_plugins.train.saves import write_json
from ftx_plugins.train.tokens import Collator, TokenizedSplit

SECONDS_BETWEEN_MARKS = 20.0
FREE_SHARE = 0.5
"""Share of the free disk that may be taken."""


class NotReusable(Exception):
    """Why the frozen layers' outputs of this model cannot be kept."""


def reuse_frozen(job: Job, model: Any) -> FrozenPart | None:
    """Compute what the frozen layers give, and have them skipped; None where that cannot or need not be."""
    config, context = job.config, job.context
    if config.unfreeze_last is None or not config.reuse_frozen or config.epochs == 1:
        return None
    layers = encoder_layers(model)
    below = layers[: len(layers) - config.unfreeze_last]
    if not below:
        return None
    part = FrozenPart(below)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(job.precision, torch.bfloat16)
    model.to(context.device)
    try:
        if job.collator.pad_left:
            raise NotReusable("it pads on the left, where a token's position depends on its batch")
        for name, split in (("train", job.rows), ("validation", job.validation)):
            part.compute(
                model,
                split,
                job.collator,
                context.work / "frozen" / name,
                batch_size=config.eval_batch_size,
                autocast=lambda: torch.autocast(context.device, dtype, enabled=job.precision != "fp32"),
                progress=partial(_report, context, f"{name} rows through the frozen layers"),
            )
    except NotReusable as reason:
        job.rows.hidden = job.validation.hidden = None
        context.log(f"the frozen layers are computed in every epoch: {reason}")
        return None
    part.skip()
    return part


def _report(context: Context, unit: str, done: int, total: int) -> None:
    context.progress(done, total, unit)


class FrozenPart:
    """The encoder layers below the first one that trains, which can be made to give back what is kept."""

    def __init__(self, layers: list[nn.Module]) -> None:
        self._layers = layers
        self._returns_tuple = False
        self._hidden = torch.empty(0)

    def compute(
        self,
        model: Any,
        rows: TokenizedSplit,
        collator: Collator,
        folder: Path,
        *,
        batch_size: int,
        autocast: Callable[[], AbstractContextManager[Any]],
        progress: Callable[[int, int], None],
    ) -> None:
        """Fill `rows.hidden`, the last frozen layer's output for each token, from `folder` or by running the model.

        Raises `NotReusable` where the disk has too little room, or the layer's output is not of shape (rows, length,
        hidden size).
        """
        folder.mkdir(parents=True, exist_ok=True)
        size = model.config.hidden_size
        shape = (int(rows.lengths.sum()), size)
        file = folder / "hidden.bin"
        if not file.exists() and 4 * shape[0] * size > FREE_SHARE * shutil.disk_usage(folder).free:
            raise NotReusable(f"it takes {4 * shape[0] * size / 1e9:.1f} GB of disk")
        hidden = np.memmap(file, dtype=np.float32, mode="r+" if file.exists() else "w+", shape=shape)
        done = _place(folder)
        seen: list[torch.Tensor] = []
        hook = self._layers[-1].register_forward_hook(lambda module, inputs, output: seen.append(self._tensor(output)))
        marked = time.monotonic()
        model.eval()
        device = next(model.parameters()).device
        ends = np.cumsum(rows.lengths)
        try:
            for batch in _rest(batches_of_like_length(rows.lengths.tolist(), batch_size), done):
                inputs = collator([rows[row] for row in batch])
                inputs.pop("labels")
                seen.clear()
                with torch.inference_mode(), autocast():
                    model(**{name: values.to(device) for name, values in inputs.items()})
                [output] = seen
                if output.shape != (*inputs["input_ids"].shape, size):
                    raise NotReusable(f"the layers give {tuple(output.shape)}, not (rows, length, hidden size)")
                values = output.float().cpu().numpy()
                for place, row in enumerate(batch):
                    hidden[ends[row] - rows.lengths[row] : ends[row]] = values[place, : rows.lengths[row]]
                done += len(batch)
                if time.monotonic() - marked > SECONDS_BETWEEN_MARKS or done == len(rows):
                    hidden.flush()
                    _mark(folder, done)
                    marked = time.monotonic()
                progress(done, len(rows))
            if not seen:  # all was kept: what the layer returns must still be seen
                self._look(model, rows, collator)
        finally:
            hook.remove()
        rows.hidden = np.memmap(file, dtype=np.float32, mode="r", shape=shape)

    def skip(self) -> None:
        """From now on the layers compute nothing: the last one returns what `give` was told."""
        for layer in self._layers:
            layer.forward = self._pass

    def give(self, hidden: torch.Tensor) -> None:
        """What the skipped layers give in the next forward pass, of shape (rows, length, hidden size)."""
        self._hidden = hidden

    def _pass(self, *inputs: Any, **more: Any) -> Any:
        return (self._hidden,) if self._returns_tuple else self._hidden

    def _tensor(self, output: Any) -> torch.Tensor:
        self._returns_tuple = isinstance(output, tuple)
        tensor: torch.Tensor = output[0] if self._returns_tuple else output
        return tensor

    def _look(self, model: Any, rows: TokenizedSplit, collator: Collator) -> None:
        inputs = collator([rows[0]])
        inputs.pop("labels")
        device = next(model.parameters()).device
        with torch.inference_mode():
            model(**{name: values.to(device) for name, values in inputs.items()})


def _rest(batches: Iterable[np.ndarray], done: int) -> Iterator[np.ndarray]:
    """The batches behind the first `done` rows."""
    for batch in batches:
        if done <= 0:
            yield batch
        done -= len(batch)


def _place(folder: Path) -> int:
    path = folder / "place.json"
    return int(json.loads(path.read_text(encoding="utf-8"))["rows"]) if path.exists() else 0


def _mark(folder: Path, rows: int) -> None:
    write_json(folder / "place.json", {"rows": rows})
