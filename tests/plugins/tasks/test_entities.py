"""Tags, entities and words: figures against seqeval, decoding of what a model may say, alignment, and offsets."""

from __future__ import annotations

import numpy as np
import pytest
from seqeval.metrics import classification_report, f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from ftx_plugins.metrics.counts import ClassCounts
from ftx_plugins.tasks import learning
from ftx_plugins.tasks.alignment import Aligner, compact, compact_logits, count_unaligned
from ftx_plugins.tasks.scoring import EntityScoring, scoring_of
from ftx_serving.decoding import Entities, decoder_of
from ftx_serving.tags import BILOU, BIO, IGNORED, TagSet, tags_of
from ftx_serving.words import Words, at_words, is_cjk, join_rows, words_of

TASK = "token-classification"
TAGS = tags_of(("LOC", "PER"), BIO)


def random_rows(seed: int, rows: int = 60, words: int = 9) -> np.ndarray:
    """Tags at random, so that every kind of broken sequence is among them; rows of several lengths."""
    random = np.random.default_rng(seed)
    tags = random.integers(0, len(TAGS), size=(rows, words))
    return np.where(np.arange(words) < random.integers(1, words + 1, size=rows)[:, None], tags, IGNORED)


def logits_for(tags: np.ndarray, outputs: int = len(TAGS)) -> np.ndarray:
    """Logits whose best tags these are; zeros where there is no word."""
    return np.eye(outputs, dtype=np.float32)[np.maximum(tags, 0)] * (tags >= 0)[..., None] * 3


def named(tags: np.ndarray, like: np.ndarray) -> list[list[str]]:
    return [
        [TAGS[tag] for tag, there in zip(row, rows, strict=True) if there >= 0]
        for row, rows in zip(tags, like, strict=True)
    ]


def scoring(words: tuple[Words, ...] = ()) -> EntityScoring:
    found = scoring_of(TASK, TAGS, words=words)
    assert isinstance(found, EntityScoring)
    return found


def test_figures_of_entities_are_those_of_seqeval_also_for_broken_sequences() -> None:
    labels, predicted = random_rows(1), random_rows(2)
    predicted = np.where(np.random.default_rng(3).random(labels.shape) < 0.6, labels, predicted)
    predicted = np.where(labels == IGNORED, IGNORED, np.maximum(predicted, 0))
    found = scoring().compute(labels, logits_for(predicted))
    wanted, said = named(labels, labels), named(predicted, labels)
    assert found["entity_f1"] == pytest.approx(f1_score(wanted, said))
    assert found["entity_precision"] == pytest.approx(precision_score(wanted, said))
    assert found["entity_recall"] == pytest.approx(recall_score(wanted, said))
    report = classification_report(wanted, said, output_dict=True)
    for name in ("LOC", "PER"):
        theirs = report[name]
        mine = found["per_class"][name]
        assert [mine["precision"], mine["recall"], mine["f1"], mine["support"]] == pytest.approx(
            [theirs["precision"], theirs["recall"], theirs["f1-score"], theirs["support"]]
        )
    right = [
        one == other for row, others in zip(wanted, said, strict=True) for one, other in zip(row, others, strict=True)
    ]
    assert found["token_accuracy"] == pytest.approx(np.mean(right))


def test_entities_are_those_that_seqeval_reads_in_the_same_tags() -> None:
    tags = random_rows(4)
    tag_set = TagSet(TAGS)
    spans = tag_set.spans(tag_set.codes(tags))
    for row, names in enumerate(named(tags, tags)):
        here = spans.row == row
        mine = {
            (tag_set.types[kind], int(start), int(end) - 1)
            for kind, start, end in zip(spans.type[here], spans.start[here], spans.end[here], strict=True)
        }
        assert mine == set(get_entities(names))


def test_counts_of_rows_add_up_to_the_figures() -> None:
    labels, logits = random_rows(1), logits_for(np.where(random_rows(1) < 0, IGNORED, np.maximum(random_rows(2), 0)))
    own = scoring()
    counts = ClassCounts.of(own.features(labels, logits).sum(axis=0, dtype=float)[None])
    figures = own.compute(labels, logits)
    f1 = 2 * counts.right.sum() / (counts.actual + counts.predicted).sum()
    assert figures["entity_f1"] == pytest.approx(f1)
    assert [each["support"] for each in figures["per_class"].values()] == counts.actual[0].tolist()


def test_bilou_tells_neighbours_of_one_type_apart_and_takes_what_is_broken() -> None:
    tags = tags_of(("PER",), BILOU)
    assert tags == ("O", "B-PER", "I-PER", "L-PER", "U-PER")
    rows = np.array([[4, 4, 1, 3, 1, 2, 3], [2, 2, 3, 2, 0, 3, 1]])
    tag_set = TagSet(tags)
    spans = tag_set.spans(tag_set.codes(rows))
    found = list(zip(spans.row.tolist(), spans.start.tolist(), spans.end.tolist(), strict=True))
    assert found == [(0, 0, 1), (0, 1, 2), (0, 2, 4), (0, 4, 7), (1, 0, 3), (1, 3, 4), (1, 5, 6), (1, 6, 7)]


def test_tags_without_prefixes_and_in_any_order_are_read_too() -> None:
    tag_set = TagSet(("PER", "O", "LOC"))
    assert tag_set.types == ("PER", "LOC")
    spans = tag_set.spans(tag_set.codes(np.array([[0, 0, 2, 1, 0]])))
    assert list(zip(spans.start.tolist(), spans.end.tolist(), spans.type.tolist(), strict=True)) == [
        (0, 2, 0),
        (2, 3, 1),
        (4, 5, 0),
    ]


def words(text: str) -> Words:
    spans, start = [], 0
    for word in text.split(" "):
        spans.append((start, start + len(word)))
        start += len(word) + 1
    return Words(text, np.arange(1, len(spans) + 1), np.array(spans))


def test_an_answer_has_places_in_characters_and_the_mean_score_of_its_words() -> None:
    text = words("Anna Smith lives in Rome")
    logits = logits_for(np.array([[3, 4, 0, 0, 1]]))
    logits[0, 1, 4] = 1.0
    [answer] = Entities(TAGS).answers(logits, words=[text])
    assert [(each["label"], each["start"], each["end"], each["text"]) for each in answer] == [
        ("PER", 0, 10, "Anna Smith"),
        ("LOC", 20, 24, "Rome"),
    ]
    sure, unsure = np.exp(3) / (np.exp(3) + 4), np.e / (np.e + 4)
    assert answer[0]["score"] == pytest.approx((sure + unsure) / 2)
    [[best]] = Entities(TAGS).answers(logits, words=[text], top_k=1)
    assert best["text"] == "Rome"


def test_a_text_without_words_has_no_entities() -> None:
    none = Words("", np.zeros(0, dtype=np.int64), np.zeros((0, 2), dtype=np.int64))
    assert Entities(TAGS).answers(np.zeros((1, 0, 5), dtype=np.float32), words=[none]) == [[]]
    assert Entities(TAGS).answers(np.zeros((1, 3, 5), dtype=np.float32), words=[none]) == [[]]


def test_a_row_changes_where_its_set_of_entities_does_and_only_there() -> None:
    decoder = decoder_of(TASK, TAGS)
    before = logits_for(np.array([[3, 4, 0], [3, 4, 0], [4, 0, 0], [0, 0, 0]]))
    after = logits_for(np.array([[3, 4, 0], [3, 3, 0], [3, 0, 0], [0, 0, 1]]))
    assert decoder.changed(before, after).tolist() == [False, True, False, True]  # I-PER alone is B-PER


def test_what_a_row_says_quotes_its_text() -> None:
    own = scoring((words("Anna Smith lives"), words("in Rome")))
    labels = np.array([[3, 4, 0], [0, 1, IGNORED]])
    assert own.wanted(labels) == ["PER: Anna Smith", "LOC: Rome"]
    assert own.said(logits_for(np.array([[3, 4, 1], [0, 0, IGNORED]]))) == ["PER: Anna Smith | LOC: lives", ""]
    assert own.right(labels, logits_for(labels)).tolist() == [True, True]


def test_margins_and_divergences_are_of_words_alone() -> None:
    own = scoring()
    sure = logits_for(np.array([[3, 0, IGNORED], [0, IGNORED, IGNORED]]))
    assert (own.margins(sure) > 0.7).all()
    padded = np.pad(sure, ((0, 0), (0, 5), (0, 0)))
    other = logits_for(np.array([[0, 0, IGNORED], [0, IGNORED, IGNORED]]))
    assert own.divergence(sure, sure) == pytest.approx(0.0)
    expected = own.divergence(sure, other)
    assert expected > 0.1
    assert own.divergence(padded, np.pad(other, ((0, 0), (0, 5), (0, 0)))) == pytest.approx(expected)


def test_the_loss_is_that_of_tagged_tokens_whatever_the_padding() -> None:
    import torch

    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32))
    labels = torch.tensor([[IGNORED, 3, IGNORED, 0], [1, IGNORED, IGNORED, IGNORED]])
    by_hand = -logits.log_softmax(-1)[[0, 0, 1], [1, 3, 0], [3, 0, 1]]
    assert float(learning.total_loss(TASK, logits, labels)) == pytest.approx(float(by_hand.sum()), rel=1e-5)
    assert learning.counted(TASK, labels) == 3
    assert float(learning.mean_loss(TASK, logits, labels)) == pytest.approx(float(by_hand.mean()), rel=1e-5)


@pytest.mark.parametrize("task", [TASK, "text-classification"])
def test_what_a_loss_is_the_mean_over_is_not_read_back_from_the_device(task: str) -> None:
    import torch

    on_device = torch.zeros((2, 4), dtype=torch.int64, device="meta")  # values of such tensors cannot be read
    assert learning.counted(task, on_device) is not None


def test_rows_of_tokens_and_rows_of_words_are_scored_alike() -> None:
    tags = np.array([[IGNORED, 3, IGNORED, 4, 0], [IGNORED, 1, IGNORED, IGNORED, IGNORED]])
    logits = np.random.default_rng(1).normal(size=(2, 5, 5)).astype(np.float32)
    assert compact(tags).tolist() == [[3, 4, 0], [1, IGNORED, IGNORED]]
    found = compact_logits(tags, logits)
    assert np.array_equal(found[0], logits[0, [1, 3, 4]]) and np.array_equal(found[1, 0], logits[1, 1])
    assert not found[1, 1:].any()


@pytest.mark.parametrize(
    ("scheme", "wanted"), [(BIO, ["B-PER", "I-PER", "O", "B-LOC"]), (BILOU, ["B-PER", "L-PER", "O", "U-LOC"])]
)
def test_spans_give_words_their_tags(scheme: str, wanted: list[str]) -> None:
    tags = tags_of(("LOC", "PER"), scheme)
    found = Aligner(tags, ("LOC", "PER")).tags_of([(0, 10, 1), (14, 18, 0)], words("Anna Smith in Rome"))
    assert [tags[tag] for tag in found] == wanted


def test_a_span_that_ends_within_a_word_takes_the_word_and_is_counted() -> None:
    text = words("pre-Roman art")
    aligner = Aligner(TAGS, ("LOC", "PER"))
    assert aligner.tags_of([(4, 9, 0), (9, 13, 1)], text).tolist() == [1, 3]
    assert aligner.tags_of([(0, 3, 0), (4, 9, 1)], text).tolist() == [1, 0]  # the word is the first one's
    assert count_unaligned([[(4, 9, 0)], [(0, 9, 0)]], [text, text]) == 1


def chinese_tokenizer(pre: pre_tokenizers.PreTokenizer, pieces: list[tuple[str, float]]) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), *pieces], 0))
    tokenizer.pre_tokenizer = pre
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def test_in_a_script_without_spaces_each_token_is_a_word_and_white_space_belongs_to_none() -> None:
    pieces = [
        ("▁", -2.0),
        ("北京", -1.0),
        ("在", -1.5),
        ("开", -1.5),
        ("会", -1.5),
        ("▁New", -1.0),
        ("▁Yo", -1.0),
        ("rk", -1.0),
    ]
    tokenizer = chinese_tokenizer(pre_tokenizers.Metaspace(), pieces)
    text = "北京在 New York开会"
    found = words_of(tokenizer.encode(text), text)
    assert [text[start:end] for start, end in found.spans] == ["北京", "在", "New", "York", "开", "会"]


def test_kana_and_full_width_forms_are_written_without_spaces_and_korean_is_not() -> None:
    assert [is_cjk(character) for character in "中カ。Ａa한ß"] == [True, True, True, True, False, False, False]


def test_logits_of_words_are_found_behind_padding_and_rows_join_at_the_widest() -> None:
    logits = np.arange(2 * 5 * 2, dtype=np.float32).reshape(2, 5, 2)
    each = [Words("a b", np.array([1, 2]), np.zeros((2, 2))), Words("a", np.array([1]), np.zeros((1, 2)))]
    right, left = (at_words(logits, [4, 3], each, left=side) for side in (False, True))
    assert np.array_equal(right[0], logits[0, [1, 2]]) and np.array_equal(left[0], logits[0, [2, 3]])
    assert np.array_equal(right[1, 0], logits[1, 1]) and np.array_equal(left[1, 0], logits[1, 3])
    assert not right[1, 1].any()
    joined = join_rows([right, np.ones((1, 4, 2), dtype=np.float32)])
    assert joined.shape == (3, 4, 2) and not joined[:2, 2:].any()
