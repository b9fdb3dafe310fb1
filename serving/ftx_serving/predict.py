"""`ftx predict` on a bundle."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from ftx.artifacts import Bundle
from ftx.plugins import PluginManager
from ftx_serving.predictor import Predictor


def predict(
    bundle: Bundle,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    plugins: PluginManager,
    *,
    top_k: int | None = None,
    variant: str | None = None,
    runtime: str | None = None,
    device: str = "cpu",
) -> tuple[list[list[dict[str, Any]]], str]:
    """For each text its labels with scores, best first; and what computed them, in words."""
    predictor = Predictor.load(
        bundle.path, variant=variant, runtime=runtime, device=device, runtimes=plugins.runtimes(), warn=_warn
    )
    predictions = predictor.predict(texts, pairs, top_k=top_k)
    return predictions, f"variant {predictor.variant.name} on {device}"


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)
