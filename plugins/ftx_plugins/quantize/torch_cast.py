"""A cast simulated in torch: the whole model in bf16 or fp16."""

from __future__ import annotations

import copy
from typing import Any

import torch

from ftx_plugins.quantize.recipe import Recipe

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def cast(model: Any, recipe: Recipe) -> Any:
    """A copy of `model`, on the processor and in evaluation mode, in the recipe's type."""
    return copy.deepcopy(model).cpu().eval().to(TYPES[recipe.weights])
