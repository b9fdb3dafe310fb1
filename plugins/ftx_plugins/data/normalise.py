"""When two texts are the same: up to case, white space, and Unicode compatibility forms. Light."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

DIGEST_BYTES = 16
"""128 bits: among a hundred million different texts, two share a digest with a probability below 2e-23."""


def normalise(text: str) -> str:
    """The form under which near-exact duplicates are equal: NFKC, case folded, runs of white space as one space.

    Folding can undo the normal form, so that it is applied twice, as in the compatibility caseless match of The Unicode
    Standard (section 3.13).
    """
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def normalise_rows(texts: Sequence[str], pairs: Sequence[str] | None) -> list[str]:
    """The normalised form of each text, or of each pair of texts as one string."""
    if pairs is None:
        return [normalise(text) for text in texts]
    return [f"{normalise(text)}\x1f{normalise(pair)}" for text, pair in zip(texts, pairs, strict=True)]


def digests(texts: Sequence[str], pairs: Sequence[str] | None) -> bytes:
    """The blake2b digests (16 bytes each, end to end) of texts, or of pairs of texts."""
    if pairs is None:
        return b"".join(hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest() for text in texts)
    return b"".join(_pair_digest(text, pair) for text, pair in zip(texts, pairs, strict=True))


def _pair_digest(text: str, pair: str) -> bytes:
    first = text.encode()
    # The length tells where the first text ends: ("ab", "c") is not ("a", "bc").
    return hashlib.blake2b(b"%d:" % len(first) + first + pair.encode(), digest_size=DIGEST_BYTES).digest()
