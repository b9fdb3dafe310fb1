"""What an evaluation looks at: a checkpoint in torch, or each variant of a bundle, behind one way to be called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch

from ftx import Artifact, Bundle, Context
from ftx_plugins.checkpoint import LoadedCheckpoint, compute_logits, load_checkpoint, logits_of_words, words_in
from ftx_plugins.quantize.calibration import load_recipe
from ftx_plugins.quantize.recipe import simulate
from ftx_serving.contract import Contract
from ftx_serving.decoding import Decoder, MultiLabel, decoder_of
from ftx_serving.predictor import Predictor
from ftx_serving.words import Words

Texts = Sequence[str]
Side = Literal["left", "right"]


class Model(Protocol):
    """A model as it is called; each call tokenizes. Logits are float32 of shape (rows, classes), in the order given;
    of a model of tokens those of the words, (rows, words, labels), padded with zeros."""

    padding_side: Side
    """The side that it pads on where it serves."""

    def logits(self, texts: Texts, pairs: Texts | None, batch_size: int) -> np.ndarray:
        """In batches of like length, padded to the longest row of each."""
        ...

    def one_batch(self, texts: Texts, pairs: Texts | None, side: Side, length: int | None = None) -> np.ndarray:
        """In one batch as it stands, padded on `side` to `length` tokens (None: to the longest row)."""
        ...

    def lengths(self, texts: Texts, pairs: Texts | None) -> np.ndarray:
        """Tokens of each text, cut to the longest input: int64 of shape (rows,)."""
        ...

    def words(self, texts: Texts) -> list[Words]:
        """The words of each text, for a model of tokens."""
        ...


@dataclass(frozen=True)
class Candidate:
    """A model to measure."""

    variant: str | None
    """None for a checkpoint."""
    labels: tuple[str, ...]
    model: Model
    batch_invariant: bool
    """Whether it says that it is."""
    quantized: bool
    size_bytes: int | None
    decoder: Decoder
    """Reads its logits, in its own order of labels."""
    task: str
    temperature: float = 1.0
    """What its logits are divided by before they become probabilities."""

    @property
    def thresholds(self) -> Sequence[float]:
        """Multi-label: of its labels, in its own order."""
        return self.decoder.thresholds if isinstance(self.decoder, MultiLabel) else ()

    @property
    def name(self) -> str:
        return self.variant or "torch"


def candidates_of(artifact: Artifact, context: Context, tolerance: float | None = None) -> list[Candidate]:
    """The checkpoint itself (its recipe simulated, if it has one), or the bundle's variants that run here.

    `tolerance` is that of a regression's data set.
    """
    if isinstance(artifact, Bundle):
        return _variants(artifact, context)
    return [_checkpoint(artifact, context, tolerance)]


def _checkpoint(artifact: Artifact, context: Context, tolerance: float | None) -> Candidate:
    loaded = load_checkpoint(artifact.path, trust_remote_code=context.model.trust_remote_code, device=context.device)
    recipe = load_recipe(artifact)
    if recipe:
        loaded.model = simulate(loaded.model.cpu(), recipe)
    weights = sum(path.stat().st_size for path in artifact.path.glob("*.safetensors"))
    # A recipe's size is known when it has been carried out, at export: a simulation has none.
    invariant = recipe is None or recipe.batch_invariant
    decoder = decoder_of(loaded.task, loaded.labels, thresholds=loaded.thresholds, tolerance=tolerance)
    size = None if recipe else weights
    return Candidate(None, loaded.labels, InTorch(loaded), invariant, bool(recipe), size, decoder, loaded.task)


def _variants(bundle: Bundle, context: Context) -> list[Candidate]:
    found = []
    for variant in Contract.from_meta(bundle.meta).variants:
        if context.device not in variant.devices:
            context.warn(f"{variant.name} is not meant for {context.device}, and was not measured")
            continue
        predictor = Predictor.load(
            bundle.path, runtimes=context.plugins.runtimes(), variant=variant.name, device=context.device
        )
        found.append(
            Candidate(
                variant.name,
                predictor.labels,
                InBundle(predictor),
                variant.batch_invariant,
                variant.precision != "fp32",
                variant.size_bytes,
                predictor.decoder,
                predictor.contract.task,
                variant.temperature,
            )
        )
    return found


class InTorch:
    """A checkpoint."""

    def __init__(self, loaded: LoadedCheckpoint) -> None:
        self._loaded = loaded
        self.padding_side: Side = loaded.tokenizer.padding_side

    def logits(self, texts: Texts, pairs: Texts | None, batch_size: int) -> np.ndarray:
        return compute_logits(self._loaded, texts, pairs, batch_size=batch_size)

    def one_batch(self, texts: Texts, pairs: Texts | None, side: Side, length: int | None = None) -> np.ndarray:
        batch = self._loaded.tokenizer(
            list(texts),
            list(pairs) if pairs is not None else None,
            truncation=True,
            max_length=self._loaded.max_length if length is None else length,
            padding="longest" if length is None else "max_length",
            padding_side=side,
            return_tensors="pt",
        ).to(next(self._loaded.model.parameters()).device)
        with torch.inference_mode():
            logits = np.asarray(self._loaded.model(**batch).logits.float().cpu().numpy())
        # Its encodings are padded already, so that their places are those in the batch.
        return logits_of_words(self._loaded.tokenizer, logits, batch.encodings, texts, "right")

    def lengths(self, texts: Texts, pairs: Texts | None) -> np.ndarray:
        encoded = self._loaded.tokenizer(
            list(texts), list(pairs) if pairs is not None else None, truncation=True, max_length=self._loaded.max_length
        )
        return np.array([len(ids) for ids in encoded["input_ids"]], dtype=np.int64)

    def words(self, texts: Texts) -> list[Words]:
        return words_in(self._loaded, texts)


class InBundle:
    """A variant of a bundle."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.padding_side: Side = predictor.contract.padding_side

    def logits(self, texts: Texts, pairs: Texts | None, batch_size: int) -> np.ndarray:
        return self._predictor.logits(texts, pairs, batch_size=batch_size, alone=batch_size == 1)

    def one_batch(self, texts: Texts, pairs: Texts | None, side: Side, length: int | None = None) -> np.ndarray:
        encoder = self._predictor.encoder
        return self._predictor.logits_of(texts, encoder.encode(texts, pairs), side=side, length=length)

    def lengths(self, texts: Texts, pairs: Texts | None) -> np.ndarray:
        return np.array([len(encoding) for encoding in self._predictor.encoder.encode(texts, pairs)], dtype=np.int64)

    def words(self, texts: Texts) -> list[Words]:
        return self._predictor.encoder.words(texts)
