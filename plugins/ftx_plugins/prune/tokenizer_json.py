"""A tokenizer.json with fewer tokens: the same tokens for every text whose tokens are kept.

That holds for each of the models below. WordPiece takes the longest token at each place, and Unigram the likeliest
path: with fewer tokens to choose from, the choice stays what it was as long as it is there. BPE applies merges in
order, so the tokens that a kept one is merged from are kept with it.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ftx import FtxError

KNOWN = ("WordPiece", "BPE", "Unigram")


def read_vocabulary(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """Token -> id, of the model and of the added tokens; `FtxError` for a model that is not known here."""
    model = tokenizer["model"]
    if model.get("type") not in KNOWN:
        raise FtxError(
            f"the vocabulary of a {model.get('type')} tokenizer cannot be pruned",
            f"use a model whose tokenizer is one of {', '.join(KNOWN)}, or leave prune:vocabulary out",
        )
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        vocabulary = {token: place for place, (token, _) in enumerate(vocabulary)}
    return {**vocabulary, **{token["content"]: token["id"] for token in tokenizer.get("added_tokens", ())}}


def indispensable(tokenizer: Mapping[str, Any], characters: Collection[str]) -> set[str]:
    """Tokens that stay whatever the data: special and added ones, and those that spell any word of `characters`.

    A byte-level BPE spells with the 256 bytes, which all stay.
    """
    model = tokenizer["model"]
    vocabulary = read_vocabulary(tokenizer)
    kept = {token["content"] for token in tokenizer.get("added_tokens", ())}
    kept |= {model["unk_token"]} if model.get("unk_token") else set()
    if model["type"] == "Unigram" and model.get("unk_id") is not None:
        kept.add(model["vocab"][model["unk_id"]][0])
    prefix = model.get("continuing_subword_prefix") or ""
    for token in vocabulary:
        bare = token.removeprefix(prefix).removeprefix("▁")
        is_byte = token.startswith("<0x") and len(token) == 6
        if is_byte or not bare or (len(bare) == 1 and (bare in characters or _is_byte_level(tokenizer))):
            kept.add(token)
    return kept & set(vocabulary)


def with_ancestors(tokenizer: Mapping[str, Any], tokens: Iterable[str]) -> set[str]:
    """`tokens`, and for a BPE the tokens that they are merged from, and those of these."""
    if tokenizer["model"]["type"] != "BPE":
        return set(tokens)
    parents = {left + right: (left, right) for left, right in reversed(_merges(tokenizer))}
    found: set[str] = set()
    waiting = list(tokens)
    while waiting:
        token = waiting.pop()
        if token not in found:
            found.add(token)
            waiting.extend(parents.get(token, ()))
    return found


def shrink(tokenizer: Mapping[str, Any], ids: Mapping[int, int]) -> dict[str, Any]:
    """The tokenizer with the tokens whose ids are in `ids` (old id -> new id), in the same order."""
    smaller = copy.deepcopy(dict(tokenizer))
    model = smaller["model"]
    if isinstance(model["vocab"], list):
        model["vocab"] = [entry for place, entry in enumerate(model["vocab"]) if place in ids]
        if model.get("unk_id") is not None:
            model["unk_id"] = ids[model["unk_id"]]
    else:
        model["vocab"] = {token: ids[place] for token, place in model["vocab"].items() if place in ids}
    if model.get("merges"):
        vocabulary = model["vocab"]
        pairs = zip(model["merges"], _merges(tokenizer), strict=True)
        model["merges"] = [merge for merge, pair in pairs if {*pair, "".join(pair)} <= vocabulary.keys()]
    for token in smaller.get("added_tokens", ()):
        token["id"] = ids[token["id"]]
    _renumber(smaller.get("post_processor"), ids)
    if smaller.get("padding"):
        smaller["padding"]["pad_id"] = ids[smaller["padding"]["pad_id"]]
    return smaller


def _renumber(processor: Any, ids: Mapping[int, int]) -> None:
    """New ids for the special tokens that a post-processor adds: of templates, BERT's and RoBERTa's, or a sequence."""
    if not processor:
        return
    for inner in processor.get("processors", ()):
        _renumber(inner, ids)
    for name in ("sep", "cls"):
        if isinstance(processor.get(name), list):
            token, number = processor[name]
            processor[name] = [token, ids[number]]
    if isinstance(processor.get("special_tokens"), dict):
        for token in processor["special_tokens"].values():
            token["ids"] = [ids[number] for number in token["ids"]]


def _merges(tokenizer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The merges in order; older files write a pair as one string."""
    merges = tokenizer["model"].get("merges") or ()
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in merges)
    return [(left, right) for left, right in pairs]


def _is_byte_level(tokenizer: Mapping[str, Any]) -> bool:
    return '"ByteLevel"' in _types(tokenizer.get("pre_tokenizer"))


def _types(processor: Any) -> str:
    if not processor:
        return ""
    inner = " ".join(_types(one) for one in processor.get("pretokenizers", ()))
    return f'"{processor.get("type")}" {inner}'
