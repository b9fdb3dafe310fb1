"""A smaller vocabulary: the same tokens on the rows that it was chosen on, and the same logits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

from ftx.artifacts import KINDS, MANIFEST, Artifact, Manifest
from ftx.errors import FtxError
from ftx.hashing import hash_folder
from ftx_plugins.checkpoint import compute_logits, load_checkpoint
from ftx_plugins.data.splits import load_rows
from ftx_plugins.prune import vocabulary
from ftx_plugins.prune.config import VocabularyConfig
from ftx_plugins.prune.tokenizer_json import read_vocabulary, shrink, with_ancestors

OTHER_TEXTS = [
    "the lighthouse keeper counted seventeen gulls over the harbour wall",
    "quarterly figures were better than anybody at the office had dared to hope",
    "unbelievable! she returned the broken umbrella, twice, without a receipt",
    "数据 模型 naïve café déjà-vu",
] * 3


@pytest.fixture(scope="module")
def trained(tiny_dataset: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`trained(kind)`: a tiny classifier with a tokenizer of that kind, trained on more than the data set uses."""
    texts = [*load_rows(tiny_dataset, "train").texts, *OTHER_TEXTS]
    builders = {"roberta": _byte_level, "xlm-roberta": _unigram, "modernbert": _byte_level, "bert": _wordpiece}

    def make(family: str) -> Path:
        folder = tmp_path_factory.mktemp(family)
        tokenizer = builders[family](texts)
        sizes: dict[str, Any] = {"vocab_size": len(tokenizer) + 3, "hidden_size": 16, "num_hidden_layers": 1}
        sizes |= {"num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 80, "num_labels": 3}
        names = ("pad", "bos", "eos", "cls", "sep")
        sizes |= {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in names}
        labels = tiny_dataset.meta["labels"]
        config = AutoConfig.for_model(family, **sizes, id2label=dict(enumerate(labels)))
        AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _as_class_of(family, folder)
        return folder

    return make


def _wordpiece(texts: list[str]) -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special))
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="[MASK]", **named)


def _byte_level(texts: list[str]) -> PreTrainedTokenizerFast:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_named())


def _unigram(texts: list[str]) -> PreTrainedTokenizerFast:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        texts, trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>")
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_named())


def _named() -> dict[str, str]:
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return {**names, "mask_token": "<mask>", "cls_token": "<s>", "sep_token": "</s>"}


def _as_class_of(family: str, folder: Path) -> None:
    """Say in the files that this is the family's own tokenizer class, which transformers builds anew from them."""
    classes = {"bert": "BertTokenizer", "roberta": "RobertaTokenizer", "xlm-roberta": "XLMRobertaTokenizer"}
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    if family in classes:
        config["tokenizer_class"] = classes[family]
    config["model_max_length"] = 64
    path.write_text(json.dumps(config))
    if family == "bert":  # BertTokenizer adds its own template
        AutoTokenizer.from_pretrained(folder).save_pretrained(folder)


def as_checkpoint(folder: Path) -> Artifact:
    manifest = Manifest("checkpoint", hash_folder(folder), {"task": "text-classification"})
    return KINDS["checkpoint"](folder, manifest)


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "modernbert"])
def test_tokens_and_logits_stay_on_the_rows_that_it_was_chosen_on(
    family: str, trained: Callable[[str], Path], tiny_dataset: Artifact, make_context: Callable[..., Any]
) -> None:
    folder = trained(family)
    context = make_context("prune:vocabulary")
    metrics = vocabulary.run(
        VocabularyConfig(margin=0.05), {"model": as_checkpoint(folder), "data": tiny_dataset}, context
    )
    texts = load_rows(tiny_dataset, "train").texts
    before, after = load_checkpoint(folder), load_checkpoint(context.out)
    for text in texts:
        assert after.tokenizer.tokenize(text) == before.tokenizer.tokenize(text)
    assert np.abs(compute_logits(after, texts) - compute_logits(before, texts)).max() < 1e-5
    assert len(after.tokenizer) == after.model.config.vocab_size == metrics["tokens"]["after"]
    assert metrics["tokens"]["after"] < 0.85 * metrics["tokens"]["before"]
    assert metrics["parameters_share"] < 1
    assert after.tokenizer.convert_ids_to_tokens(after.model.config.pad_token_id) == before.tokenizer.pad_token
    assert after.tokenizer.mask_token_id is not None
    assert AutoModelForSequenceClassification.from_pretrained(context.out).num_parameters() > 0


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "modernbert"])
def test_a_word_that_is_gone_is_spelled_and_not_unknown(
    family: str, trained: Callable[[str], Path], tiny_dataset: Artifact, make_context: Callable[..., Any]
) -> None:
    context = make_context("prune:vocabulary")
    inputs = {"model": as_checkpoint(trained(family)), "data": tiny_dataset}
    metrics = vocabulary.run(VocabularyConfig(margin=0.0), inputs, context)
    tokenizer = load_checkpoint(context.out).tokenizer
    pieces = tokenizer.tokenize("sad happiest lighthouse")
    assert tokenizer.unk_token not in pieces[:-1]
    assert len(pieces) > 6
    assert metrics["unknown_rate"]["after"] <= metrics["unknown_rate"]["before"] + 1e-9


def test_a_margin_keeps_more_tokens(
    trained: Callable[[str], Path], tiny_dataset: Artifact, make_context: Callable[..., Any]
) -> None:
    inputs = {"model": as_checkpoint(trained("roberta")), "data": tiny_dataset}
    sizes = [
        vocabulary.run(VocabularyConfig(margin=margin), inputs, make_context())["tokens"]["after"]
        for margin in (0.0, 0.2, 100.0)
    ]
    whole = vocabulary.run(VocabularyConfig(margin=100.0), inputs, make_context())["tokens"]
    assert sizes[0] < sizes[1] < sizes[2] == whole["before"]


def test_rare_tokens_go_if_asked_to(
    trained: Callable[[str], Path], tiny_dataset: Artifact, make_context: Callable[..., Any]
) -> None:
    inputs = {"model": as_checkpoint(trained("bert")), "data": tiny_dataset}
    sizes = [
        vocabulary.run(VocabularyConfig(margin=0.0, min_count=count), inputs, make_context())["tokens"]["after"]
        for count in (1, 20)
    ]
    assert sizes[1] < sizes[0]


def test_the_smaller_vocabulary_exports(
    trained: Callable[[str], Path], tiny_dataset: Artifact, make_context: Callable[..., Any]
) -> None:
    from ftx_plugins.export.config import TorchscriptConfig
    from ftx_plugins.export.run import run_torchscript

    pruned = make_context("prune:vocabulary")
    vocabulary.run(VocabularyConfig(), {"model": as_checkpoint(trained("bert")), "data": tiny_dataset}, pruned)
    exported = make_context("export:torchscript")
    run_torchscript(TorchscriptConfig(), {"model": as_checkpoint(pruned.out), "data": tiny_dataset}, exported)
    assert exported.meta["variants"][0]["parity"]["max_difference"] <= 1e-4


def test_a_bpe_keeps_what_its_tokens_are_merged_from() -> None:
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4, "bc": 5}}
    tokenizer = {"model": {**model, "merges": [["a", "b"], ["ab", "c"], ["b", "c"]]}, "added_tokens": []}
    kept = with_ancestors(tokenizer, {"abc"})
    assert kept == {"a", "b", "c", "ab", "abc"}
    smaller = shrink(tokenizer, {read_vocabulary(tokenizer)[token]: new for new, token in enumerate(sorted(kept))})
    assert smaller["model"]["merges"] == [["a", "b"], ["ab", "c"]]
    assert set(smaller["model"]["vocab"]) == kept


def test_a_vocabulary_of_another_kind_is_an_error() -> None:
    with pytest.raises(FtxError, match="WordLevel tokenizer cannot be pruned"):
        read_vocabulary({"model": {"type": "WordLevel", "vocab": {}}})


def test_pairs_count_both_texts(
    trained: Callable[[str], Path], tmp_path: Path, make_context: Callable[..., Any]
) -> None:
    labels = ["positive", "negative", "neutral"]
    for split in ("train", "validation"):
        columns: dict[str, list[Any]] = {"text": ["a car"] * 9, "text_pair": ["umbrella"] * 9}
        table = pa.table({**columns, "label": [0, 1, 2] * 3, "row": list(range(9))})
        with pa.OSFile(str(tmp_path / f"{split}.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as sink:
            sink.write_table(table)
    manifest = Manifest("dataset", hash_folder(tmp_path), {"labels": labels})
    (tmp_path / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    context = make_context()
    inputs = {"model": as_checkpoint(trained("roberta")), "data": KINDS["dataset"](tmp_path, manifest)}
    metrics = vocabulary.run(VocabularyConfig(margin=0.0), inputs, context)
    assert metrics["changed_rows"] == 0
    before, after = (load_checkpoint(folder).tokenizer for folder in (inputs["model"].path, context.out))
    assert after.tokenize("umbrella") == before.tokenize("umbrella")
