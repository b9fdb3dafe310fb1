"""`prune:magnitude`: small weights become zero where they stand. Only a runtime with sparse kernels gains by it.

2:4 is the pattern of NVIDIA's sparse tensor cores (Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ftx import Artifact, Context, FtxError
from ftx_plugins.checkpoint import save_successor
from ftx_plugins.prune.anatomy import dissect
from ftx_plugins.prune.config import MagnitudeConfig
from ftx_plugins.prune.job import open_model


def run(config: MagnitudeConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Set weights of all linear layers of the encoder to zero; biases, embeddings and the head stay."""
    loaded = open_model(inputs["model"], context)
    linears = dissect(loaded.model, context.plugins.architectures()).linears()
    zeros = total = 0
    with torch.no_grad():
        for linear in linears:
            mask = two_of_four(linear.weight) if config.pattern == "2:4" else largest(linear.weight, config.sparsity)
            linear.weight.mul_(mask)
            zeros += int((~mask).sum())
            total += mask.numel()
    save_successor(loaded, inputs["model"], context)
    context.describe(sparsity={"pattern": config.pattern, "share": round(zeros / total, 4)})
    context.warn(
        f"{zeros / total:.0%} of the encoder's weights are zero, and still there: files are as large and runtimes as "
        "slow as before, but for runtimes with kernels for sparse weights; prune:structured removes"
    )
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    return {
        "pattern": config.pattern,
        "zeros_share": round(zeros / total, 4),
        "zeros_share_of_all": round(zeros / parameters, 4),
        "layers": len(linears),
        "flops_share": 1.0,
        "parameters_share": 1.0,
    }


def two_of_four(weight: torch.Tensor) -> torch.Tensor:
    """Which weights stay, a bool of the weight's shape: of each four in a row the two of greatest magnitude."""
    rows, columns = weight.shape
    if columns % 4:
        raise FtxError(
            f"2:4 needs rows of a multiple of 4 weights, and a layer has {columns}",
            'set prune.pattern = "unstructured"',
        )
    fours = weight.detach().abs().reshape(rows, columns // 4, 4)
    mask = torch.zeros_like(fours, dtype=torch.bool)
    return mask.scatter_(2, fours.topk(2, dim=2).indices, True).reshape(rows, columns)


def largest(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    """Which weights stay, a bool of the weight's shape: all but the `sparsity` share of least magnitude."""
    magnitudes = weight.detach().abs().flatten()
    mask = torch.ones(len(magnitudes), dtype=torch.bool, device=weight.device)
    mask[magnitudes.topk(round(sparsity * len(magnitudes)), largest=False).indices] = False
    return mask.reshape(weight.shape)
