"""The ids of training, from `tokenizers` alone."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx_serving.contract import Contract
from ftx_serving.encoder import TextEncoder


@pytest.fixture
def contract(tiny_bundle: Artifact) -> Contract:
    return Contract.from_meta(tiny_bundle.meta)


@pytest.fixture
def encoder(tiny_bundle: Artifact, contract: Contract) -> TextEncoder:
    return TextEncoder.from_file(tiny_bundle.path / "tokenizer.json", contract)


@pytest.fixture
def training_tokenizer(tiny_classifier: Any) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_classifier)


ODD = [
    "",
    "  \n ",
    "café e\u0301 ﬁ",
    "中文good字",
    "👩‍👩‍👧",
    "\x00\x1cgood\u00ad",
    "[MASK] good [SEP]",
    "x" * 500,
    "ab " * 900,
]


def test_ids_are_those_of_the_training_tokenizer_on_odd_texts(encoder: TextEncoder, training_tokenizer: Any) -> None:
    expected = training_tokenizer(ODD, truncation=True, max_length=encoder.contract.max_length)
    encodings = encoder.encode(ODD)
    assert [encoding.ids for encoding in encodings] == expected["input_ids"]
    assert max(len(encoding) for encoding in encodings) == encoder.contract.max_length


def test_pairs_are_cut_as_in_training_and_keep_their_types(
    encoder: TextEncoder, training_tokenizer: Any, contract: Contract
) -> None:
    encoder.contract = replace(contract, pair=True)
    texts, pairs = ["good car", "it " * 100, "a", "the " * 100], ["bad", "b", "was " * 100, "is " * 101]
    expected = training_tokenizer(texts, pairs, truncation=True, max_length=contract.max_length)
    encodings = encoder.encode(texts, pairs)
    assert [encoding.ids for encoding in encodings] == expected["input_ids"]
    assert [encoding.type_ids for encoding in encodings] == expected["token_type_ids"]


def test_a_very_long_text_gives_the_same_ids_without_being_read_to_its_end(encoder: TextEncoder) -> None:
    choose = random.Random(0)
    pieces = ["good", "bad ", " ", "\n", "中", "文", "x", "the ", "\t\t", "zz" * 60, "[SEP]", "é"]
    for _ in range(20):
        text = "".join(choose.choices(pieces, k=6000))
        whole = encoder._tokenizer.encode_batch([text])[0]
        assert encoder.encode([text])[0].ids == whole.ids
    million = "good words and more " * 50_000
    read: list[int] = []
    whole_tokenizer = encoder._tokenizer

    class Counting:
        def encode_batch(self, texts: list[str]) -> Any:
            read.extend(map(len, texts))
            return whole_tokenizer.encode_batch(texts)

    encoder._tokenizer = Counting()
    assert len(encoder.encode([million])[0]) == encoder.contract.max_length
    assert sum(read) < 10_000


def test_long_texts_of_byte_level_bpe_give_the_same_ids(contract: Contract) -> None:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: place for place, letter in enumerate(["<s>", "</s>", "<pad>", *letters, "Ġg", "oo"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ġ", "g"), ("o", "o")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), add_prefix_space=False)
    encoder = TextEncoder(tokenizer, contract)
    assert encoder._boundary is not None
    choose = random.Random(0)
    for _ in range(20):
        text = "".join(choose.choices(["good", " ", "  ", "\n", "\u00a0", "中", "it's ", " 12", "!?"], k=4000))
        assert encoder.encode([text])[0].ids == encoder._tokenizer.encode_batch([text])[0].ids


def test_tokenizers_that_look_at_the_whole_text_are_given_all_of_it(contract: Contract) -> None:
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], 0, False))
    tokenizer.normalizer = normalizers.NFKC()
    assert TextEncoder(tokenizer, contract)._boundary is None


def test_padding_goes_to_the_side_asked_for(encoder: TextEncoder) -> None:
    encodings = encoder.encode(["good", "the car is very good"])
    right, left = encoder.feed(encodings), encoder.feed(encodings, side="left")
    assert set(right) == {"input_ids", "attention_mask", "token_type_ids"}
    assert right["input_ids"].dtype == np.int64
    assert right["attention_mask"][0].tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert left["attention_mask"][0].tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert (right["input_ids"][0][3:] == encoder.contract.pad_token_id).all()


def test_the_tokenizer_given_is_not_changed(tiny_bundle: Artifact, contract: Contract) -> None:
    shared = Tokenizer.from_file(str(tiny_bundle.path / "tokenizer.json"))
    TextEncoder(shared, contract)
    assert shared.truncation is None


def test_lone_surrogates_are_replaced_not_fatal(encoder: TextEncoder) -> None:
    assert encoder.encode(["good \ud800"])[0].ids == encoder.encode(["good \ufffd"])[0].ids


def test_missing_unwanted_and_uneven_pairs_are_clear_errors(encoder: TextEncoder, contract: Contract) -> None:
    with pytest.raises(FtxError, match="single texts"):
        encoder.encode(["good"], ["bad"])
    encoder.contract = replace(contract, pair=True)
    with pytest.raises(FtxError, match="pairs of texts"):
        encoder.encode(["good"])
    with pytest.raises(FtxError, match="1 texts came with 2"):
        encoder.encode(["good"], ["bad", "worse"])
