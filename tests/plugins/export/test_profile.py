"""What a bundle says of the texts that its model was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ftx.artifacts import Artifact
from ftx.testing.tiny import sentences
from ftx_plugins.checkpoint import load_checkpoint
from ftx_plugins.export.profile import profile_of
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


def test_rows_that_an_augmentation_has_added_are_not_profiled(
    tiny_bundle: Artifact, tiny_classifier: Path, tiny_dataset: Artifact, as_artifact: Any, tmp_path: Path
) -> None:
    with pa.memory_map(str(tiny_dataset.path / "train.arrow")) as source, pa.ipc.open_stream(source) as reader:
        table = reader.read_all()
    origins = [""] * len(table) + ["noise"] * 40
    table = pa.concat_tables([table, table.slice(0, 40)]).append_column("origin", pa.array(origins))
    with pa.OSFile(str(tmp_path / "train.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    augmented = as_artifact(tmp_path, "dataset", **tiny_dataset.meta)
    encoder = TextEncoder.from_file(tiny_bundle.path / "tokenizer.json", Contract.from_meta(tiny_bundle.meta))
    loaded = load_checkpoint(tiny_classifier)
    assert profile_of(loaded, encoder, augmented, 0) == profile_of(loaded, encoder, tiny_dataset, 0)


def test_a_bundle_of_before_has_no_profile() -> None:
    assert Profile.from_meta({"labels": ["a"]}) is None
