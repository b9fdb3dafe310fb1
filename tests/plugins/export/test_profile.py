"""What a bundle says of the texts that its model was trained on."""

from __future__ import annotations

import pytest

from ftx.artifacts import Artifact
from ftx.testing.tiny import sentences
from ftx_serving.contract import Contract
from ftx_serving.encoder import TextEncoder
from ftx_serving.profile import LENGTH_BOUNDS, Profile


def test_the_bundle_tells_labels_lengths_and_unknown_tokens_of_the_training_split(tiny_bundle: Artifact) -> None:
    profile = Profile.from_meta(tiny_bundle.meta)
    assert profile is not None
    contract = Contract.from_meta(tiny_bundle.meta)
    encodings = TextEncoder.from_file(tiny_bundle.path / "tokenizer.json", contract).encode(
        [text for text, _ in sentences(96, seed=2)]
    )
    assert profile.texts == 96
    assert profile.label_shares == pytest.approx({"positive": 1 / 3, "negative": 1 / 3, "neutral": 1 / 3}, abs=1e-3)
    expected = [sum(len(encoding) <= bound for encoding in encodings) / 96 for bound in LENGTH_BOUNDS]
    assert profile.length_shares == pytest.approx(expected, abs=1e-3)
    assert 0 < profile.length_shares[2] < 1
    unknown = sum(encoding.ids.count(1) for encoding in encodings)  # [UNK] is the second token of the vocabulary
    assert profile.unknown_token_rate == pytest.approx(unknown / sum(map(len, encodings)), rel=1e-3)


def test_a_bundle_of_before_has_no_profile() -> None:
    assert Profile.from_meta({"labels": ["a"]}) is None
