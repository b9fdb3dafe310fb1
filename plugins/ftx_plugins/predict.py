"""`ftx predict` on a checkpoint, in torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftx.artifacts import Checkpoint
from ftx.errors import FtxError
from ftx.plugins import PluginManager
from ftx.tasks import TOKEN_CLASSIFICATION
from ftx_plugins.checkpoint import LoadedCheckpoint, compute_logits, load_checkpoint, words_in
from ftx_plugins.quantize.calibration import load_recipe
from ftx_plugins.quantize.recipe import simulate
from ftx_serving.decoding import decoder_of, flagged


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
    """For each text its labels with scores, best first (a regression: its number; of tokens: its entities); a recipe is
    simulated."""
    if variant or runtime:
        raise FtxError("a checkpoint has no variants or runtimes: it runs in torch", "export it first: ftx run export")
    loaded = load_checkpoint(checkpoint.path, device=device)
    recipe = load_recipe(checkpoint)
    if recipe:
        loaded.model = simulate(loaded.model.cpu(), recipe)
    logits = compute_logits(loaded, texts, pairs, batch_size=32 if recipe is None or recipe.batch_invariant else 1)
    decoder = decoder_of(loaded.task, loaded.labels, thresholds=loaded.thresholds)
    words = words_in(loaded, texts) if loaded.task == TOKEN_CLASSIFICATION else None
    answers = flagged(
        decoder.answers(logits, top_k=top_k, words=words), _cut(loaded, texts, pairs), [False] * len(texts)
    )
    return answers, "torch" + (", recipe simulated" if recipe else "")


def _cut(loaded: LoadedCheckpoint, texts: Sequence[str], pairs: Sequence[str] | None) -> list[bool]:
    """Of each text, or pair, whether it is longer than what the model is given of it."""
    second = None if pairs is None else list(pairs)
    whole = loaded.tokenizer(list(texts), second, truncation=False, verbose=False)["input_ids"]
    return [len(ids) > loaded.max_length for ids in whole]
