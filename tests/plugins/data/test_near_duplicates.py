"""Texts that are nearly the same: which are found, and where they end up."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftx.errors import ExitCode, FtxError
from ftx_plugins.data.near_duplicates import PERMUTATIONS, RECALL, band_width, cluster_texts
from ftx_plugins.data.sampling import draw, draw_whole
from ftx_plugins.data.shingles import NGRAM, hash_ngrams

Clean = Callable[..., Any]
Write = Callable[[str, str], Path]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def sentence(choose: random.Random, words: int = 12) -> str:
    return " ".join("".join(choose.choices(LETTERS, k=choose.randint(3, 8))) for _ in range(words))


def families(count: int, size: int, seed: int = 0) -> list[list[str]]:
    """`count` families of `size` texts, each like the first of its family but for one word."""
    choose = random.Random(seed)
    found = []
    for _ in range(count):
        first = sentence(choose)
        words = first.split()
        others = [" ".join([*words[:-1], "".join(choose.choices(LETTERS, k=4))]) for _ in range(size - 1)]
        found.append([first, *others])
    return found


def csv_of(texts: list[str], labels: tuple[str, ...] = ("no", "yes")) -> str:
    return "text,label\n" + "".join(f"{text},{labels[n % len(labels)]}\n" for n, text in enumerate(texts))


def multiset_similarity(one: str, other: str) -> float:
    first, second = (Counter(t[i : i + NGRAM] for i in range(max(len(t) - NGRAM + 1, 1))) for t in (one, other))
    return (first & second).total() / (first | second).total()


def test_clusters_are_those_of_comparing_all_pairs(tmp_path: Path) -> None:
    choose = random.Random(3)
    texts = [text for family in families(40, 3) for text in family] + [sentence(choose) for _ in range(60)]
    texts += [text + " " + "".join(choose.choices(LETTERS, k=3)) for text in texts[:30]]
    choose.shuffle(texts)
    of_row = cluster_texts(texts, 0.8, tmp_path).of_row
    cluster = list(range(len(texts)))
    for one in range(len(texts)):
        for other in range(one):
            if multiset_similarity(texts[one], texts[other]) >= 0.8:
                low, high = sorted((cluster[one], cluster[other]))
                cluster = [low if each == high else each for each in cluster]
    assert of_row.tolist() == cluster
    assert len(set(cluster)) < len(texts)


def test_a_text_that_repeats_itself_is_not_a_shorter_one(tmp_path: Path) -> None:
    assert cluster_texts(["ha ha ha ha ha ha ha ha", "ha ha"], 0.8, tmp_path).of_row.tolist() == [0, 1]


def test_ngrams_of_a_text_do_not_depend_on_what_stands_beside_it() -> None:
    texts = ["one text", "é", "", "另一个文本 😀", "one text"]
    hashes, starts = hash_ngrams(texts)
    alone = [hash_ngrams([text])[0] for text in texts]
    assert [hashes[a:b].tolist() for a, b in pairwise(starts)] == [each.tolist() for each in alone]
    assert len(set(alone[3].tolist())) == len("另一个文本 😀") - NGRAM + 1


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9, 1.0])
def test_bands_find_a_pair_that_is_just_similar_enough(similarity: float) -> None:
    width = band_width(similarity)
    assert 1 - (1 - similarity**width) ** (PERMUTATIONS // width) >= RECALL


def test_no_cluster_straddles_splits(clean: Clean, write: Write) -> None:
    groups = families(60, 4)
    cleaned = clean(train=write("rows.csv", csv_of([text for family in groups for text in family])))
    split_of = {text: split for split in ("train", "validation", "test") for text in cleaned.texts(split)}
    assert len(split_of) == 240
    assert all(len({split_of[text] for text in family}) == 1 for family in groups)
    assert cleaned.metrics["splits"]["test"] == pytest.approx(48, abs=4)
    assert cleaned.metrics["near_duplicates"]["clusters_in_several_splits"] == 0


def test_reported_near_duplicates_are_split_by_rows_and_the_straddling_ones_counted(
    clean: Clean, write: Write, recorder: Any
) -> None:
    path = write("rows.csv", csv_of([text for family in families(60, 4) for text in family]))
    cleaned = clean(train=path, near_duplicates="report")
    straddling = cleaned.metrics["near_duplicates"]["clusters_in_several_splits"]
    assert straddling > 20
    assert any(f"{straddling} clusters of near-duplicates straddle" in text for text in recorder.messages("warning"))
    assert cleaned.metrics["splits"] == clean(train=path, near_duplicates="off").metrics["splits"]


def test_the_report_shows_the_largest_clusters_with_texts_labels_and_splits(clean: Clean, write: Write) -> None:
    choose = random.Random(9)
    big, small = families(1, 6)[0], families(1, 2, seed=1)[0]
    cleaned = clean(train=write("rows.csv", csv_of([*big, *small, *(sentence(choose) for _ in range(60))])))
    figures, shown = cleaned.metrics["near_duplicates"], cleaned.report["near_duplicate_clusters"]
    assert (figures["clusters"], figures["rows"], figures["clusters_with_several_labels"]) == (2, 8, 2)
    assert [each["rows"] for each in shown] == [6, 2]
    assert shown[0]["labels"] == {"no": 3, "yes": 3}
    assert [each["text"] for each in shown[0]["texts"]] == big[:3]
    assert list(shown[0]["splits"].values()) == [6]
    assert figures["largest"][0] == {"rows": 6, "text": big[0][:100]}


@pytest.mark.parametrize("drop", [False, True])
def test_training_rows_near_a_test_files_rows_are_counted_and_dropped_if_asked(
    drop: bool, clean: Clean, write: Write, recorder: Any
) -> None:
    groups = families(20, 2)
    choose = random.Random(5)
    train = write("train.csv", csv_of([group[0] for group in groups] + [sentence(choose) for _ in range(40)]))
    test = write("test.csv", csv_of([group[1] for group in groups[:10]] + [sentence(choose) for _ in range(10)]))
    cleaned = clean(train=train, test=test, drop_leaked=drop)
    figures, rows = cleaned.metrics["near_duplicates"], cleaned.metrics["rows"]
    assert figures["rows_with_one_in_another_file"] == {"train~test": 10}
    assert (figures["dropped"], rows["leaked"]) == ((10, 10) if drop else (0, 0))
    leaked = {group[0] for group in groups[:10]}
    assert len(leaked & set(cleaned.texts("train", "validation"))) == (0 if drop else 10)
    assert set(cleaned.texts("test")) >= {group[1] for group in groups[:10]}
    [warning] = [text for text in recorder.messages("warning") if "near-duplicates" in text]
    assert ("were dropped" in warning) == drop
    assert ("data.drop_leaked = true" in warning) != drop
    assert rows["read"] == sum(count for name, count in rows.items() if name != "read")


def test_one_cluster_of_all_rows_is_refused_with_the_settings_to_change(clean: Clean, write: Write) -> None:
    texts = [f"the sensor of hall {n} has sent the same long message as on each day of last year" for n in range(40)]
    with pytest.raises(FtxError, match="no row is left for the test split") as caught:
        clean(train=write("rows.csv", csv_of(texts)))
    assert caught.value.code == ExitCode.USER
    assert 'data.near_duplicates="report"' in str(caught.value)


def test_a_split_that_clusters_keep_small_is_told(clean: Clean, write: Write, recorder: Any) -> None:
    choose = random.Random(2)
    big = families(1, 90)[0]
    clean(train=write("rows.csv", csv_of([*big, *(sentence(choose) for _ in range(30))])))
    assert any(text.startswith("the validation split has 6 rows for 10 asked") for text in recorder.messages("warning"))


@pytest.mark.parametrize("looking", ["report", "off"])
def test_clusters_are_not_blamed_where_none_stays_whole(
    looking: str, clean: Clean, write: Write, make_table: Any, recorder: Any
) -> None:
    rows = make_table(40, labels=tuple(f"label {n}" for n in range(10)))
    cleaned = clean(train=write("rows.csv", rows), test_size=0.6, near_duplicates=looking)
    assert cleaned.metrics["splits"]["test"] == 20  # each label keeps two of its four rows
    assert not any("stay whole" in text for text in recorder.messages("warning"))


@pytest.mark.parametrize("seed", range(10))
def test_whole_clusters_are_drawn_in_proportion_as_far_as_they_fit(seed: int) -> None:
    choose = random.Random(seed)
    labels, clusters = [], []
    for cluster in range(150):
        for _ in range(choose.choice([1, 1, 1, 1, 2, 3, 5])):
            labels.append(choose.randrange(3))
            clusters.append(cluster)
    identities = np.array(choose.sample(range(10**6), len(labels)), dtype=np.uint64)
    chosen = set(draw_whole(np.array(labels), 60, identities, np.array(clusters), seed).tolist())
    members = defaultdict(set)
    for row, cluster in enumerate(clusters):
        members[cluster].add(row)
    assert all(rows <= chosen or not rows & chosen for rows in members.values())
    assert len(chosen) == 60
    counts = np.bincount([labels[row] for row in chosen], minlength=3)
    assert abs(counts - 60 * np.bincount(labels) / len(labels)).max() < 1
    assert any(len(members[clusters[row]]) > 1 for row in chosen)


def test_without_clusters_the_draw_is_the_plain_one() -> None:
    labels = np.arange(200) % 3
    identities = np.arange(200, dtype=np.uint64)
    plain = draw(labels, 50, identities, 4, leave=1)
    assert draw_whole(labels, 50, identities, np.arange(200), 4, leave=1).tolist() == plain.tolist()
