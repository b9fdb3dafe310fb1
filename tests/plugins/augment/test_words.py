"""Which words may change, and what a new text is made of."""

from __future__ import annotations

from random import Random

import pytest

from ftx_plugins.augment.config import NoiseConfig
from ftx_plugins.augment.noise import add_noise
from ftx_plugins.augment.words import count_words, find_words, replace_words, with_case_of


def free(text: str, *protect: str) -> list[str]:
    return [word.text for word in find_words(text, protect) if not word.is_fixed]


@pytest.mark.parametrize(
    ("text", "changeable"),
    [
        ("this isn't good, not at all", ["this", "good", "at", "all"]),
        ("I don’t like it and never will", ["I", "like", "it", "and", "will"]),
        ("see https://example.org/good @good #good $GOOD me@good.org a1 good", ["see", "good"]),
        ("we flew with Lufthansa to Rome. Good flight", ["we", "flew", "with", "to", "Good", "flight"]),
        ("GOOD FLIGHT", ["GOOD", "FLIGHT"]),
        ("这个不好，没有用", list("这个好有用")),
    ],
)
def test_negations_names_links_and_tags_are_fixed(text: str, changeable: list[str]) -> None:
    assert free(text) == changeable


def test_protected_phrases_are_fixed_whatever_their_case_and_only_as_words() -> None:
    assert free("the new Pixel pro has pixels", "pixel PRO") == ["the", "new", "has", "pixels"]
    assert free("华为手机好", "华为") == list("手机好")


def test_replacing_leaves_all_else_as_it_is() -> None:
    assert replace_words("a  bad,bad film", [(3, 6, "poor"), (7, 10, "awful")]) == "a  poor,awful film"
    assert [with_case_of("movie", old) for old in ("film", "Film", "FILM")] == ["movie", "Movie", "MOVIE"]


def test_one_word_at_least_is_chosen_and_never_more_than_there_are() -> None:
    words = find_words("one two three four")
    assert count_words(words, 0.01) == 1
    assert count_words(words, 1.0) == len(words) == 4
    assert count_words([], 0.5) == 0


@pytest.mark.parametrize("seed", range(30))
def test_noise_moves_and_drops_free_words_alone(seed: int) -> None:
    text = "the crew was not friendly and the food at @airline's lounge was awful but cheap"
    config = NoiseConfig(swap=0.2, delete=0.2, protect=("lounge",))
    new = add_noise(text, config, Random(seed))
    assert new is not None
    assert new != text
    assert "not friendly" in new
    assert "@airline's" in new
    assert "lounge" in new
    assert "  " not in new
    assert set(new.split()) <= set(text.split())
    assert len(new.split()) == len(text.split()) - 3


def test_swapping_alone_keeps_every_word() -> None:
    new = add_noise("one two three four five six", NoiseConfig(swap=0.2, delete=0), Random(0))
    assert new is not None
    assert new != "one two three four five six"
    assert sorted(new.split()) == sorted(["one", "two", "three", "four", "five", "six"])


@pytest.mark.parametrize("text", ["", "good", "not good", "!!!", "https://example.org/a"])
def test_a_text_without_two_free_words_is_left_alone(text: str) -> None:
    assert add_noise(text, NoiseConfig(), Random(0)) is None
