"""What training on tags of words learns, measures and leaves out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ftx.artifacts import Artifact
from ftx_plugins.checkpoint import load_checkpoint
from ftx_plugins.tasks.alignment import Aligner
from ftx_plugins.train.tokens import collator_of, tokenize_split


def test_a_tagger_learns_its_entities_and_says_how_well_type_by_type(tagger: Artifact) -> None:
    figures = tagger.manifest.metrics["validation"]
    assert figures["entity_f1"] > 0.9
    assert set(figures["per_class"]) == {"GOOD", "BAD"}
    assert figures["per_class"]["GOOD"]["support"] > 5
    assert {"entity_precision", "entity_recall", "token_accuracy", "loss"} <= set(figures)
    assert tagger.meta["labels"] == ["O", "B-BAD", "I-BAD", "B-GOOD", "I-GOOD"]


def test_the_checkpoint_is_one_of_transformers_for_tokens(tagger: Artifact) -> None:
    config = json.loads((tagger.path / "config.json").read_text())
    assert config["architectures"] == ["BertForTokenClassification"]
    loaded = load_checkpoint(tagger.path)
    assert loaded.task == "token-classification" and loaded.labels == tuple(tagger.meta["labels"])


@pytest.fixture
def tokenized(tagger: Artifact, data: Artifact, tmp_path: Path) -> Any:
    """Two rows as tokens: a word that the vocabulary knows in letters alone, and a text beyond the longest input."""
    import datasets

    texts = ["good zebra", "the bad poor car is very good today"]
    split = datasets.Dataset.from_dict({"text": texts, "label": [[[0, 10, 1]], [[4, 12, 0], [25, 29, 1]]]})
    loaded = load_checkpoint(tagger.path)
    aligner = Aligner(loaded.labels, ("BAD", "GOOD"))
    rows = tokenize_split(
        split, loaded.tokenizer, tmp_path, max_length=8, encode_labels=aligner, progress=lambda done, total: None
    )
    return rows, loaded.tokenizer


def test_special_tokens_and_the_rest_of_words_have_no_tag(tokenized: Any) -> None:
    rows, tokenizer = tokenized
    tokens = tokenizer.convert_ids_to_tokens(rows[0]["input_ids"].tolist())
    assert tokens == ["[CLS]", "good", "z", "##e", "##b", "##r", "##a", "[SEP]"]
    assert rows[0]["labels"].tolist() == [-100, 3, 4, -100, -100, -100, -100, -100]


def test_what_is_cut_off_is_counted_and_words_tags_stand_in_rows(tokenized: Any) -> None:
    rows, _ = tokenized
    assert rows.truncated == 1 and rows.unaligned == 1  # its second entity is not there any more
    assert rows.labels.tolist() == [[3, 4, -100, -100, -100, -100], [0, 1, 2, 0, 0, 0]]


def test_padding_has_no_tag_on_either_side(tokenized: Any) -> None:
    rows, tokenizer = tokenized
    right = collator_of(tokenizer, 16, 8, tags=True)
    tokenizer.padding_side = "left"
    left = collator_of(tokenizer, 16, 8, tags=True)
    short = {name: values[:3] for name, values in rows[1].items()}
    for collator, place in ((right, slice(0, 3)), (left, slice(5, 8))):
        labels = collator([rows[0], short])["labels"]
        assert labels.dtype == torch.int64 and labels.shape == (2, 8)
        assert labels[1, place].tolist() == [-100, 0, 1]
        assert int((labels[1] != -100).sum()) == 2


def test_figures_are_the_same_from_the_trainer_and_over_the_saved_model(
    tagger: Artifact, data: Artifact, carry: Any
) -> None:
    evaluation = carry("evaluate:validation", {"model": tagger, "data": data}, invariance_rows=4, latency_rows=20)
    [model] = evaluation.manifest.metrics["models"]
    figures = tagger.manifest.metrics["validation"]
    assert model["entity_f1"] == pytest.approx(figures["entity_f1"], abs=1e-6)
    assert model["token_accuracy"] == pytest.approx(figures["token_accuracy"], abs=1e-6)
    assert model["per_class"] == figures["per_class"]
    low, high = model["intervals"]["entity_f1"]
    assert low <= model["entity_f1"] <= high and np.isfinite([low, high]).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"unfreeze_last": 1},
        {"lora_rank": 4, "learning_rate": 1e-2},
        {"seeds": (1, 2), "combine": "uniform"},
        {"average": "last-steps", "keep_average": "always"},
        {"metric": "token_accuracy", "layer_decay": 0.9},
    ],
)
def test_ways_of_training_that_do_not_look_at_labels_work_on_tags(
    carry: Any, encoder: Artifact, data: Artifact, settings: dict[str, Any]
) -> None:
    quick = {"epochs": 1, "learning_rate": 3e-3, "mixed_precision": "fp32", "max_length": 32}
    trained = carry("train:finetune", {"model": encoder, "data": data}, **{**quick, **settings})
    assert 0 <= trained.manifest.metrics["validation"]["entity_f1"] <= 1
    assert load_checkpoint(trained.path).task == "token-classification"


def test_a_trained_head_goes_on_with_its_tags_and_refuses_others(
    carry: Any, tagger: Artifact, encoder: Artifact, data: Artifact, tmp_path: Path
) -> None:
    from ftx.errors import FtxError

    quick = {"epochs": 1, "learning_rate": 1e-5, "mixed_precision": "fp32", "dropout": 0.0}
    again = carry("train:finetune", {"model": tagger, "data": data}, **quick)
    assert again.manifest.metrics["validation"]["entity_f1"] > 0.9
    file = tmp_path / "other.conll"
    file.write_text("".join(f"good{n}\tB-NEW\nthe\tO\n\n" for n in range(20)), encoding="utf-8")
    other = carry("data:clean", {"model": encoder}, train=str(file), near_duplicates="off")
    with pytest.raises(FtxError, match=r"the data has 3 \(O, B-NEW, I-NEW\), the head 5"):
        carry("train:finetune", {"model": tagger, "data": other}, **quick)
