"""How many operations a text costs in the model's matrix products: what its floor on a machine follows from."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

LENGTHS = (4, 8, 12)
"""Tokens of the inputs that are counted: three points give the count, a polynomial of degree two in the length."""


def count_operations(model: Any) -> dict[str, Any]:
    """`per_text`, `per_token` and `per_token_squared`: multiplications and additions of one text.

    Counted are matrix products alone (linear layers, and attention's two products), by torch's FLOP counter; attention
    runs unfused for it. What is per token squared is attention; embeddings, norms and activations are left out.
    """
    short, middle, long = (_count(model, length) for length in LENGTHS)
    step = LENGTHS[1] - LENGTHS[0]
    squared = (long - 2 * middle + short) / (2 * step**2)
    per_token = (middle - short) / step - squared * (LENGTHS[0] + LENGTHS[1])
    per_text = short - per_token * LENGTHS[0] - squared * LENGTHS[0] ** 2
    counted = {"per_text": per_text, "per_token": per_token, "per_token_squared": squared}
    return {name: round(value) for name, value in counted.items()} | {"counted": "matrix products"}


def _count(model: Any, length: int) -> int:
    parameter = next(model.parameters())
    ids = torch.ones(1, length, dtype=torch.long, device=parameter.device)
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return int(counter.get_total_flops())
