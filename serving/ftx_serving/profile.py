"""What the training texts were like, so that a server can tell when its traffic is not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tokenizers import Tokenizer

KEY = "profile"
"""Its name in a bundle's `meta`."""
LENGTH_BOUNDS = (4, 8, 16, 32, 64, 128, 256, 512)
"""Tokens, special ones included."""


@dataclass(frozen=True)
class Profile:
    """Of the training split, or a sample of it."""

    texts: int
    label_shares: Mapping[str, float]
    length_shares: Sequence[float]
    """Of the texts with at most `LENGTH_BOUNDS` tokens, after truncation."""
    unknown_token_rate: float
    """Of all tokens, those that are not in the vocabulary."""

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Profile | None:
        """The profile in a bundle's `meta`; None for a bundle without."""
        raw = meta.get(KEY)
        if not raw or len(raw["length_shares"]) != len(LENGTH_BOUNDS):
            return None
        return cls(raw["texts"], raw["label_shares"], tuple(raw["length_shares"]), raw["unknown_token_rate"])

    def to_meta(self) -> dict[str, Any]:
        return {**asdict(self), "length_shares": list(self.length_shares)}


def unknown_token_id(tokenizer: Tokenizer) -> int | None:
    """The id that stands for what the vocabulary lacks; None where it lacks nothing."""
    model = json.loads(tokenizer.to_str()).get("model") or {}
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    name = model.get("unk_token")
    return None if name is None else tokenizer.token_to_id(name)
