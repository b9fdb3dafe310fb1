"""What an evaluation looks at: a checkpoint in torch, or each variant of a bundle, behind one way to be called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ftx import Artifact, Bundle, Context
from ftx_plugins.checkpoint import compute_logits, load_checkpoint
from ftx_plugins.quantize.calibration import load_recipe
from ftx_plugins.quantize.recipe import simulate
from ftx_serving.contract import Contract
from ftx_serving.predictor import Predictor

Texts = Sequence[str]
LogitsOf = Callable[[Texts, Texts | None, int], np.ndarray]
"""(texts, pairs, batch size) -> logits of shape (rows, classes)."""


@dataclass(frozen=True)
class Candidate:
    """A model to measure."""

    variant: str | None
    """None for a checkpoint."""
    labels: tuple[str, ...]
    logits: LogitsOf
    batch_invariant: bool
    quantized: bool
    size_bytes: int | None


def candidates_of(artifact: Artifact, context: Context) -> list[Candidate]:
    """The checkpoint itself (its recipe simulated, if it has one), or the bundle's variants that run here."""
    if isinstance(artifact, Bundle):
        return _variants(artifact, context)
    return [_checkpoint(artifact, context)]


def _checkpoint(artifact: Artifact, context: Context) -> Candidate:
    loaded = load_checkpoint(artifact.path, trust_remote_code=context.model.trust_remote_code, device=context.device)
    recipe = load_recipe(artifact)
    if recipe:
        loaded.model = simulate(loaded.model.cpu(), recipe)

    def logits(texts: Texts, pairs: Texts | None, batch_size: int) -> np.ndarray:
        return compute_logits(loaded, texts, pairs, batch_size=batch_size)

    weights = sum(path.stat().st_size for path in artifact.path.glob("*.safetensors"))
    # A recipe's size is known when it has been carried out, at export: a simulation has none.
    invariant = recipe is None or recipe.batch_invariant
    return Candidate(None, loaded.labels, logits, invariant, bool(recipe), None if recipe else weights)


def _variants(bundle: Bundle, context: Context) -> list[Candidate]:
    found = []
    for variant in Contract.from_meta(bundle.meta).variants:
        if context.device not in variant.devices:
            context.warn(f"{variant.name} is not meant for {context.device}, and was not measured")
            continue
        predictor = Predictor.load(
            bundle.path, runtimes=context.plugins.runtimes(), variant=variant.name, device=context.device
        )
        quantized = variant.precision != "fp32"
        found.append(
            Candidate(
                variant.name,
                predictor.labels,
                _logits_of(predictor),
                variant.batch_invariant,
                quantized,
                variant.size_bytes,
            )
        )
    return found


def _logits_of(predictor: Predictor) -> LogitsOf:
    def logits(texts: Texts, pairs: Texts | None, batch_size: int) -> np.ndarray:
        return predictor.logits(texts, pairs, batch_size=batch_size, alone=batch_size == 1)

    return logits
