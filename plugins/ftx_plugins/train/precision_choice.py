"""The number format of a training, chosen once and kept for as long as the step goes on.

That a processor has instructions for bf16 does not make them fast: Xeons with `avx512_bf16` and no AMX have been seen
to multiply bf16 at 0.6 times the speed of fp32. So "auto" times both on a processor, in the shape that the encoder's
own time goes into.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.functional import linear

from ftx import Context
from ftx_plugins.train.config import Precision
from ftx_plugins.train.precision import has_bf16, resolve_precision
from ftx_plugins.train.saves import write_json

CLEARLY_FASTER = 1.1
"""bf16 is taken where fp32 takes at least so many times as long: less is within the noise, and costs digits."""
ROWS = 128
"""Tokens that are multiplied at a time."""
ROUNDS = (3, 9)
"""At least and at most; between them, until `SECONDS` are over."""
SECONDS = 0.4


@dataclass(frozen=True)
class PrecisionChoice:
    """The format, and, where both were timed, the milliseconds that a layer takes in fp32 and in bf16."""

    precision: Precision
    fp32_ms: float | None = None
    bf16_ms: float | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """What a step reports of it."""
        timed = {"fp32": self.fp32_ms, "bf16": self.bf16_ms}
        return {"precision": self.precision, **({"precision_ms": timed} if self.fp32_ms is not None else {})}


def choose_precision(
    wanted: Literal["auto", "bf16", "fp16", "fp32"], encoder: nn.Module, context: Context
) -> PrecisionChoice:
    """The format to train `encoder` in. It is written under `context.work` first: a killed step goes on in the same.

    Raises `FtxError` where the device lacks the format asked for.
    """
    kept = context.work / "precision.json"
    if kept.exists():
        return PrecisionChoice(**json.loads(kept.read_text(encoding="utf-8")))
    choice = PrecisionChoice(resolve_precision(wanted, context.device, has_bf16(context.device)))
    if wanted == "auto" and context.device == "cpu" and choice.precision == "bf16":
        choice = faster_of(*time_products(_widest_shape(encoder)))
        context.log(
            f"trained in {choice.precision}: a layer takes {choice.fp32_ms:.2f} ms in fp32 and {choice.bf16_ms:.2f} ms "
            "in bf16 on this processor"
        )
    write_json(kept, asdict(choice))
    return choice


def faster_of(fp32_ms: float, bf16_ms: float) -> PrecisionChoice:
    """bf16 where it is clearly faster."""
    precision: Precision = "bf16" if fp32_ms >= CLEARLY_FASTER * bf16_ms else "fp32"
    return PrecisionChoice(precision, round(fp32_ms, 4), round(bf16_ms, 4))


def time_products(shape: tuple[int, int]) -> tuple[float, float]:
    """Milliseconds that a linear layer of `shape` (out, in) takes forward and back, in fp32 and under bf16 autocast.

    With the threads in force. Both take turns, so that whatever else the machine does disturbs both; medians.
    """
    generator = torch.Generator().manual_seed(0)  # the global one belongs to the training
    weight = torch.randn(shape, generator=generator).requires_grad_()
    tokens = torch.randn((ROWS, shape[1]), generator=generator).requires_grad_()
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for in_bf16 in seconds:
        _forward_and_back(tokens, weight, in_bf16)  # the first call sets up kernels and memory
    started = time.perf_counter()
    least, most = ROUNDS
    for number in range(most):
        if number >= least and time.perf_counter() - started > SECONDS:
            break
        for in_bf16 in (False, True) if number % 2 else (True, False):
            before = time.perf_counter()
            _forward_and_back(tokens, weight, in_bf16)
            seconds[in_bf16].append(time.perf_counter() - before)
    return 1000 * statistics.median(seconds[False]), 1000 * statistics.median(seconds[True])


def _forward_and_back(tokens: torch.Tensor, weight: torch.Tensor, in_bf16: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=in_bf16):
        product = linear(tokens, weight)
    torch.autograd.grad(product, (tokens, weight), torch.ones_like(product))


def _widest_shape(encoder: nn.Module) -> tuple[int, int]:
    """The shape (out, in) of the largest linear layer: the feed-forward network's, which most of the time goes into.

    Told by their weights, since not every model's linear layers are `nn.Linear` (GPT-2's are not).
    """
    weights = [
        weight
        for module in encoder.modules()
        if isinstance(weight := getattr(module, "weight", None), torch.Tensor)
        and weight.ndim == 2
        and not isinstance(module, nn.Embedding)
    ]
    largest = max(weights, key=torch.Tensor.numel)
    return largest.shape[0], largest.shape[1]
