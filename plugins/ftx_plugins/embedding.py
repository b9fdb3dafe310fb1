"""Texts as vectors of a frozen encoder, and a linear probe on them: cheap, and without a look at any label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ftx.errors import FtxError
from ftx_plugins.checkpoint import load_tokenizer, max_length_of, padded_batches, read_model

MAX_TOKENS = 256
"""Texts are cut here: what stands behind hardly changes a mean, and attention costs the square."""
BATCH = 32
ITERATIONS = 1000


class Embedder:
    """An encoder with its weights as they are in `folder`; a head, if there is one, is not used."""

    def __init__(self, folder: Path, *, trust_remote_code: bool = False, device: str = "cpu") -> None:
        model, missing = read_model(folder, trust_remote_code=trust_remote_code)
        prefix = f"{model.base_model_prefix}."
        lacking = [name for name in missing if name.startswith(prefix) and ".pooler." not in name]
        if lacking:
            raise FtxError(
                f"{folder} lacks weights of its encoder: {', '.join(lacking[:4])}",
                "get the model again, whole, or name another: --set model.name=…",
            )
        self._encoder: Any = model.base_model.to(device).eval()
        self._tokenizer: Any = load_tokenizer(folder, trust_remote_code=trust_remote_code)
        self._max_length = min(max_length_of(model.config, self._tokenizer), MAX_TOKENS)

    def embed(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> np.ndarray:
        """The mean of each text's last hidden states, float32 of shape (texts, hidden); padding does not count."""
        device = next(self._encoder.parameters()).device
        vectors = np.zeros((len(texts), self._encoder.config.hidden_size), dtype=np.float32)
        for rows, batch, _ in padded_batches(self._tokenizer, texts, pairs, self._max_length, BATCH, progress):
            inputs = batch.to(device)
            with torch.inference_mode():
                hidden = self._encoder(**inputs).last_hidden_state.float()
            mask = inputs["attention_mask"].unsqueeze(-1)
            vectors[rows] = ((hidden * mask).sum(1) / mask.sum(1)).cpu().numpy()
        return vectors


def probe_probabilities(vectors: np.ndarray, labels: np.ndarray, others: np.ndarray, classes: int) -> np.ndarray:
    """The labels' probabilities for `others` by a logistic regression that learns from `vectors` and `labels`.

    float64 of shape (others, classes); a class that `labels` lacks has 0. Raises `FtxError` where there is one class.
    """
    if len(np.unique(labels)) < 2:
        raise FtxError("the rows have one label: there is nothing to learn", "take more rows")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS))
    model.fit(vectors, labels)
    found = np.zeros((len(others), classes))
    found[:, model.classes_] = model.predict_proba(others)
    return found
