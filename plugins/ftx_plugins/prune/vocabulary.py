"""`prune:vocabulary`: tokens that the data does not use go, with their rows of the embedding.

Files and memory shrink, latency does not. A text whose tokens are kept is tokenized as before; in others, a token that
is gone is spelled in smaller ones.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from ftx import Artifact, Context, FtxError
from ftx.errors import ExitCode
from ftx_plugins.checkpoint import (
    LoadedCheckpoint,
    load_checkpoint,
    load_tokenizer,
    quiet_transformers,
    save_checkpoint,
)
from ftx_plugins.data.splits import load_split
from ftx_plugins.prune.config import VocabularyConfig
from ftx_plugins.prune.job import open_model
from ftx_plugins.prune.tokenizer_json import indispensable, read_vocabulary, shrink, with_ancestors

CHUNK = 1000
"""Rows tokenized at a time."""


def run(config: VocabularyConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Write `inputs["model"]` with the tokens that `inputs["data"]` uses, special ones, and a margin."""
    source, data = inputs["model"], inputs["data"]
    loaded = open_model(source, context)
    before = _backend(loaded)
    described = json.loads(before.to_str())
    counts, characters = _count(before, data, context)
    kept = _choose(described, counts, characters, config)
    ids = {old: new for new, old in enumerate(kept)}
    after = Tokenizer.from_str(json.dumps(shrink(described, ids)))
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    _shrink_embeddings(loaded.model, kept, ids)
    _save(loaded, source, after, context)
    _check_saved(after, context)
    metrics = {
        "tokens": {"before": len(read_vocabulary(described)), "used": len(counts), "after": len(kept)},
        "parameters_share": round(sum(each.numel() for each in loaded.model.parameters()) / parameters, 4),
        "flops_share": 1.0,
        **_compare(before, after, described, data, context),
    }
    context.describe(**source.meta, vocabulary={"tokens": len(kept), "before": metrics["tokens"]["before"]})
    unknown = metrics["unknown_rate"]
    context.log(
        f"{len(kept)} of {metrics['tokens']['before']} tokens, {metrics['parameters_share']:.0%} of the parameters; "
        f"{metrics['changed_rows']:.2%} of the validation rows have other tokens now, and {unknown['after']:.3%} "
        f"of their tokens are unknown (before: {unknown['before']:.3%})"
    )
    return metrics


def _backend(loaded: LoadedCheckpoint) -> Tokenizer:
    """A copy of the fast tokenizer, with truncation and padding off."""
    if not getattr(loaded.tokenizer, "is_fast", False):
        raise FtxError(
            f"{type(loaded.tokenizer).__name__} has no tokenizer.json whose tokens could be pruned",
            "use a model with a fast tokenizer, or leave prune:vocabulary out",
        )
    tokenizer = Tokenizer.from_str(loaded.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _count(tokenizer: Tokenizer, data: Artifact, context: Context) -> tuple[Counter[int], set[str]]:
    """How often each token id occurs in the training rows, and which characters they are made of.

    The characters are those that the normalizer leaves, as only these reach the vocabulary.
    """
    split = load_split(data, "train")
    counts: Counter[int] = Counter()
    characters: set[str] = set()
    done = 0
    for chunk in split.iter(batch_size=CHUNK):
        texts = [text for column in ("text", "text_pair") if column in chunk for text in chunk[column]]
        for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            counts.update(encoding.ids)
        for text in texts:
            normal = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
            characters.update(normal)
        done += len(chunk["text"])
        context.progress(done, len(split), "rows counted")
    return counts, characters


def _choose(
    described: Mapping[str, Any], counts: Mapping[int, int], characters: set[str], config: VocabularyConfig
) -> list[int]:
    """The ids to keep, in rising order: BERT-like vocabularies begin with the special tokens, and so does this one."""
    vocabulary = read_vocabulary(described)
    tokens = {number: token for token, number in vocabulary.items()}
    used = {tokens[number] for number, count in counts.items() if count >= config.min_count}
    kept = with_ancestors(described, used | indispensable(described, characters))
    margin = round(config.margin * len(used))
    further = (token for _, token in sorted(tokens.items()) if token not in kept and not _is_reserved(token))
    kept |= with_ancestors(described, [token for token, _ in zip(further, range(margin), strict=False)])
    return sorted(vocabulary[token] for token in kept)


def _is_reserved(token: str) -> bool:
    """Places that a vocabulary holds free, such as BERT's [unused1]: no text has them."""
    return token.startswith("[unused") and token.endswith("]")


def _shrink_embeddings(model: Any, kept: Sequence[int], ids: Mapping[int, int]) -> None:
    """Keep these rows of the word embedding, and give the ids in the configuration their new numbers."""
    config = model.config
    old = model.get_input_embeddings()
    padding = ids[old.padding_idx] if old.padding_idx is not None else None
    new = nn.Embedding(len(kept), old.embedding_dim, padding, device=old.weight.device, dtype=old.weight.dtype)
    with torch.no_grad():
        new.weight.copy_(old.weight[torch.as_tensor(kept, device=old.weight.device)])
    model.set_input_embeddings(new)
    config.vocab_size = len(kept)
    for name, value in config.to_dict().items():
        if name.endswith("_token_id") and value is not None:
            many = [ids.get(number) for number in value] if isinstance(value, list) else ids.get(value)
            setattr(config, name, many)


def _save(loaded: LoadedCheckpoint, source: Artifact, after: Tokenizer, context: Context) -> None:
    """Write model and tokenizer. Everything that transformers knows of the tokenizer stays, but for its tokens."""
    tokenizer = load_tokenizer(source.path, trust_remote_code=context.model.trust_remote_code)
    tokenizer._tokenizer = after
    with quiet_transformers():
        save_checkpoint(replace(loaded, tokenizer=tokenizer), context.out)


def _check_saved(after: Tokenizer, context: Context) -> None:
    """Raise `FtxError` unless transformers, which builds some tokenizers anew, reads the same tokens from the files."""
    saved = load_checkpoint(context.out, trust_remote_code=context.model.trust_remote_code)
    texts = ["a [MASK] <mask> text 中文 naïve 😀", ""]
    expected = [encoding.ids for encoding in after.encode_batch(texts)]
    if saved.tokenizer(texts)["input_ids"] != expected:
        raise FtxError(
            f"{type(saved.tokenizer).__name__} reads other tokens from the pruned vocabulary than it was given",
            "leave prune:vocabulary out for this model",
            code=ExitCode.STEP_FAILED,
        )


def _compare(
    before: Tokenizer, after: Tokenizer, described: Mapping[str, Any], data: Artifact, context: Context
) -> dict[str, Any]:
    """On the validation rows: the share of tokens that are unknown, and of rows whose tokens are others than before."""
    split = load_split(data, "validation")
    model = described["model"]
    unknown = model["vocab"][model["unk_id"]][0] if model.get("unk_id") is not None else model.get("unk_token")
    unknowns, totals, changed = np.zeros(2, dtype=int), np.zeros(2, dtype=int), 0
    for chunk in split.iter(batch_size=CHUNK):
        texts = [text for column in ("text", "text_pair") if column in chunk for text in chunk[column]]
        encoded = [
            [encoding.tokens for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
            for tokenizer in (before, after)
        ]
        changed += sum(first != second for first, second in zip(*encoded, strict=True))
        for side, rows in enumerate(encoded):
            unknowns[side] += sum(token == unknown for tokens in rows for token in tokens)
            totals[side] += sum(map(len, rows))
    rates, rows_seen = unknowns / np.maximum(totals, 1), max(len(split), 1)
    context.progress(1, 1, "splits compared")
    return {
        "unknown_rate": {"before": float(rates[0]), "after": float(rates[1])},
        "changed_rows": changed / rows_seen,
        "tokens_per_row": {"before": float(totals[0] / rows_seen), "after": float(totals[1] / rows_seen)},
    }
