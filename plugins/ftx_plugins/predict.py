"""`ftx predict` on a checkpoint, in torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftx.artifacts import Checkpoint
from ftx.errors import FtxError
from ftx.plugins import PluginManager
from ftx_plugins.checkpoint import compute_logits, load_checkpoint
from ftx_plugins.quantize.recipe import Recipe, simulate
from ftx_serving.predictor import ranked


def predict(
    checkpoint: Checkpoint,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    plugins: PluginManager,
    *,
    top_k: int | None = None,
    variant: str | None = None,
    runtime: str | None = None,
    device: str = "cpu",
) -> tuple[list[list[dict[str, Any]]], str]:
    """For each text its labels with scores, best first; a recipe is simulated, and each text then goes alone."""
    if variant or runtime:
        raise FtxError("a checkpoint has no variants or runtimes: it runs in torch", "export it first: ftx run export")
    loaded = load_checkpoint(checkpoint.path, device=device)
    recipe = checkpoint.meta.get("recipe")
    if recipe:
        loaded.model = simulate(loaded.model.cpu(), Recipe.from_dict(recipe))
    logits = compute_logits(loaded, texts, pairs, batch_size=1 if recipe else 32)
    return [ranked(row, loaded.labels, top_k) for row in logits], "torch" + (", recipe simulated" if recipe else "")
