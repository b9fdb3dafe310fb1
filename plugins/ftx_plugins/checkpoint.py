"""Checkpoints in memory: load, save, and compute logits with torch. Shared by the steps that touch weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx.step import Context
from ftx.tasks import TEXT_CLASSIFICATION, TOKEN_CLASSIFICATION, task_of_head
from ftx_plugins.ensemble import is_ensemble
from ftx_plugins.shapes import FIELD as SHAPES_FIELD
from ftx_plugins.shapes import with_shapes
from ftx_serving.words import Words, at_words, join_rows, words_of_each

THRESHOLDS_FIELD = "ftx_thresholds"
"""Where `config.json` keeps the thresholds of a multi-label model: they belong to its weights."""
NO_LIMIT = 100_000
"""A tokenizer without a limit of its own says a number beyond this."""


@dataclass
class LoadedCheckpoint:
    """A model in evaluation mode, its tokenizer, label names in the head's order, and the longest input in tokens."""

    model: Any
    tokenizer: Any
    labels: tuple[str, ...]
    max_length: int
    task: str = TEXT_CLASSIFICATION

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Multi-label: the probability from which on each label is predicted, in the order of `labels`."""
        return tuple(getattr(self.model.config, THRESHOLDS_FIELD, None) or ())


def load_checkpoint(folder: Path | str, *, trust_remote_code: bool = False, device: str = "cpu") -> LoadedCheckpoint:
    """The checkpoint in `folder`, in fp32. Its recipe for quantization, if it has one, is not applied.

    Raises `FtxError` where the weights lack a trained head: a head of random numbers is never passed off as a model.
    """
    folder = Path(folder)
    model, missing_weights = read_model(folder, trust_remote_code=trust_remote_code)
    if missing_weights:
        missing = ", ".join(missing_weights[:4])
        raise FtxError(
            f"{folder} has no trained head for {type(model).__name__} (missing: {missing})",
            "train one first: ftx run train …",
        )
    tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
    labels = tuple(model.config.id2label[index] for index in range(model.config.num_labels))
    task = task_of_head(model.config.to_dict()) or TEXT_CLASSIFICATION
    return LoadedCheckpoint(model.to(device).eval(), tokenizer, labels, max_length_of(model.config, tokenizer), task)


def auto_model(task: str | None) -> Any:
    """transformers' class that chooses a model with a head for the task."""
    return AutoModelForTokenClassification if task == TOKEN_CLASSIFICATION else AutoModelForSequenceClassification


def read_model(
    folder: Path, config: Any = None, *, trust_remote_code: bool = False, task: str | None = None
) -> tuple[Any, list[str]]:
    """The model in `folder` in fp32, and the names of weights that the folder lacks: those hold random numbers.

    `config` is used instead of the folder's own; the head is for `task`, or, without one, for that of the folder's.
    Linear layers that pruning has cut are rebuilt in their sizes first, so that loading stays strict: sizes that do not
    fit are an error, never new weights.
    """
    options = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    with loading(folder):
        config = config or AutoConfig.from_pretrained(folder, **options)
        auto = auto_model(task or task_of_head(config.to_dict()))
        shapes = getattr(config, SHAPES_FIELD, None)
        if shapes:
            with torch.device("meta"):
                stock = type(auto.from_config(config, trust_remote_code=trust_remote_code))
            auto = with_shapes(stock, shapes)
        model, info = auto.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            **({} if shapes else {"trust_remote_code": trust_remote_code}),
            local_files_only=True,
        )
    if shapes:
        model.__class__ = stock
    return model, sorted(info["missing_keys"])


def max_length_of(config: Any, tokenizer: Any) -> int:
    """The longest input in tokens: the tokenizer's `model_max_length`, within the model's position embeddings."""
    if is_ensemble(config):
        return min(max_length_of(member, tokenizer) for member in config.member_configs())
    positions = getattr(config, "max_position_embeddings", None) or NO_LIMIT
    # RoBERTa counts positions from padding_idx + 1, so two of its embeddings are never used.
    if config.model_type in {"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "data2vec-text"}:
        positions -= (1 if config.pad_token_id is None else config.pad_token_id) + 1
    own = tokenizer.model_max_length
    limit = min(int(own) if own and own < NO_LIMIT else NO_LIMIT, positions)
    return 512 if limit >= NO_LIMIT else limit


def save_checkpoint(loaded: LoadedCheckpoint, folder: Path) -> None:
    """Write weights (safetensors), configuration and tokenizer; `max_length` becomes its `model_max_length`."""
    loaded.tokenizer.model_max_length = loaded.max_length
    loaded.model.save_pretrained(folder, safe_serialization=True)
    loaded.tokenizer.save_pretrained(folder)


def save_successor(loaded: LoadedCheckpoint, source: Artifact, context: Context) -> None:
    """Write a changed model as the step's checkpoint, with the tokenizer and the facts of the one that it was."""
    # Tokenizing has left its truncation in the tokenizer at hand, and saving would keep that.
    tokenizer = load_tokenizer(source.path, trust_remote_code=context.model.trust_remote_code)
    with quiet_transformers():
        save_checkpoint(replace(loaded, tokenizer=tokenizer), context.out)
    context.describe(**source.meta)


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer in `folder`. One of its own for each use: tokenizing leaves its truncation in it, and saving would
    keep that. Raises `FtxError` where it cannot be loaded."""
    with loading(folder):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)


def batches_of_like_length(lengths: Sequence[int], batch_size: int) -> Iterator[np.ndarray]:
    """Row numbers in batches, longest rows first, so that a batch pads little and the first one shows peak memory."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def compute_logits(
    loaded: LoadedCheckpoint,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Logits of `texts` (with `pairs`, of text pairs), float32 of shape (rows, classes), in the order given; of a model
    of tokens those of the words, (rows, words, labels), padded with zeros.

    Batches hold rows of like length, padded to their longest. `progress(done, total)` is called after each.
    """
    device = next(loaded.model.parameters()).device
    parts, order = [], []
    for rows, batch, encodings in padded_batches(
        loaded.tokenizer, texts, pairs, loaded.max_length, batch_size, progress
    ):
        with torch.inference_mode():
            logits = loaded.model(**batch.to(device)).logits.float().cpu().numpy()
        parts.append(logits_of_words(loaded.tokenizer, logits, encodings, [texts[row] for row in rows]))
        order.extend(rows.tolist())
    if not parts:
        return np.zeros((0, len(loaded.labels)), dtype=np.float32)
    found = join_rows(parts)
    in_order = np.empty_like(found)
    in_order[order] = found
    return in_order


def logits_of_words(
    tokenizer: Any, logits: np.ndarray, encodings: Sequence[Any] | None, texts: Sequence[str], side: str | None = None
) -> np.ndarray:
    """The logits of a batch; of those of tokens the words' (`at_words`). `side` is the one that was padded on."""
    if logits.ndim == 2:
        return logits
    require_offsets(tokenizer)
    assert encodings is not None
    words = words_of_each(encodings, texts)
    lengths = [sum(encoding.attention_mask) for encoding in encodings]
    return at_words(logits, lengths, words, left=(side or tokenizer.padding_side) == "left")


def words_in(loaded: LoadedCheckpoint, texts: Sequence[str]) -> list[Words]:
    """The words of each text, as `TextEncoder.words` gives them."""
    require_offsets(loaded.tokenizer)
    cut = loaded.tokenizer.truncation_side == "left"
    encoded = loaded.tokenizer(
        list(texts), truncation=cut, max_length=loaded.max_length if cut else None, verbose=False
    )
    return words_of_each(encoded.encodings, texts)


def require_offsets(tokenizer: Any) -> None:
    """Raise `FtxError` for a tokenizer that does not tell where in a text its tokens are."""
    if not getattr(tokenizer, "is_fast", False):
        raise FtxError(
            f"{type(tokenizer).__name__} does not tell where its tokens are in a text, as tags of words need",
            "use a model with a fast tokenizer",
        )


def padded_batches(
    tokenizer: Any,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    max_length: int,
    batch_size: int,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[np.ndarray, Any, Sequence[Any] | None]]:
    """Row numbers, inputs, and the encodings of a fast tokenizer, of batches of like length, padded to their longest.

    `progress(done, total)` is called when the next batch is asked for.
    """
    encoded = tokenizer(list(texts), list(pairs) if pairs is not None else None, truncation=True, max_length=max_length)
    done = 0
    for rows in batches_of_like_length([len(ids) for ids in encoded["input_ids"]], batch_size):
        columns = {name: [values[row] for row in rows] for name, values in encoded.items()}
        encodings = None if encoded.encodings is None else [encoded.encodings[row] for row in rows]
        yield rows, tokenizer.pad(columns, return_tensors="pt"), encodings
        done += len(rows)
        if progress:
            progress(done, len(texts))


@contextlib.contextmanager
def loading(folder: Path) -> Iterator[None]:
    """`quiet_transformers`, and one `FtxError` for whatever transformers raises over a folder that it cannot load."""
    try:
        with quiet_transformers():
            yield
    except (FtxError, MemoryError):
        raise
    except Exception as error:  # tokenizers and safetensors raise classes of their own, straight from Exception
        reason = str(error).strip().partition("\n")[0]
        reason = reason if " " in reason else f"{type(error).__name__} {reason}"
        if "ignore_mismatched_sizes" in reason:
            reason = "its weights have other shapes than its config.json says"
        raise FtxError(
            f"{folder} cannot be loaded: {reason}",
            "get the model again, whole, or name another: --set model.name=…",
            "see all that transformers says: ftx --debug run …",
        ) from error


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hold back transformers' loading reports and bars: what matters in them becomes an error or a progress event."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
