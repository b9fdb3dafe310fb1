"""Entities out of conll and jsonl files: read, checked with the place of what is wrong, split and kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftx.errors import FtxError
from ftx.step import ModelSettings
from ftx_plugins.data.check import check
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.splits import load_rows
from ftx_plugins.data.text_file import TextFile

TASK = "token-classification"
NAMES = ("anna", "bert", "cleo", "dora", "emil", "fred", "gina", "hugo", "ines", "jona")
PLACES = ("rome", "oslo", "kyiv", "bonn", "lima")


def sentence(number: int) -> str:
    name, place = NAMES[number % 10], PLACES[number % 5]
    return f"{name}\tB-PER\nvan\tI-PER\nn{number}\tO\nin\tO\n{place}\tB-LOC\n"


def conll(rows: int = 40) -> str:
    return "\n".join(map(sentence, range(rows)))


def entities_of(cleaned: Any, split: str) -> dict[str, list[tuple[str, str]]]:
    """Text -> (what an entity covers, its type) of each of its entities."""
    rows = load_rows(cleaned.data, split)
    types = [tag.removeprefix("B-") for tag in cleaned.meta["labels"] if tag.startswith("B-")]
    return {
        text: [(text[start:end], types[kind]) for start, end, kind in entities]
        for text, entities in zip(rows.texts, rows.labels, strict=True)
    }


def test_a_conll_file_becomes_texts_with_spans_and_tags_for_the_head(
    clean: Callable[..., Any], write: Callable[..., Path]
) -> None:
    found = clean(task=TASK, train=write("rows.conll", conll()))
    assert found.meta["labels"] == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert found.meta["scheme"] == "BIO" and found.meta["task"] == TASK
    rows = {
        text: spans for split in ("train", "validation", "test") for text, spans in entities_of(found, split).items()
    }
    assert len(rows) == 40
    assert rows["anna van n0 in rome"] == [("anna van", "PER"), ("rome", "LOC")]
    assert found.metrics["classes"]["train"] == {"LOC": found.meta["rows"]["train"], "PER": found.meta["rows"]["train"]}


def test_characters_of_chinese_tokens_are_joined_and_words_beside_them_parted(
    clean: Callable[..., Any], write: Callable[..., Path]
) -> None:
    rows = "".join(f"江\tB-PER\n泽\tI-PER\n民\tI-PER\n到\tO\nWTO\tB-ORG\nn{n}\tO\n。\tO\n\n" for n in range(20))
    found = clean(task=TASK, train=write("rows.conll", rows), near_duplicates="off")
    assert entities_of(found, "train")["江泽民到 WTO n3 。"] == [("江泽民", "PER"), ("WTO", "ORG")]


@pytest.mark.parametrize("tags", ["B-PER L-PER U-LOC", "B-PER E-PER S-LOC"])
def test_bilou_is_told_by_its_tags_and_kept_for_the_head(
    clean: Callable[..., Any], write: Callable[..., Path], tags: str
) -> None:
    first, second, third = tags.split()
    rows = "".join(f"anna{n} {first}\nsmith {second}\nin O\nrome{n} {third}\n\n" for n in range(20))
    found = clean(task=TASK, train=write("rows.conll", rows), near_duplicates="off")
    assert found.meta["scheme"] == "BILOU"
    assert found.meta["labels"] == ["O"] + [f"{p}-{t}" for t in ("LOC", "PER") for p in "BILU"]
    assert entities_of_bilou(found)["anna3 smith in rome3"] == ["anna3 smith", "rome3"]


def test_a_scheme_that_is_set_needs_no_tags_to_tell_it(clean: Callable[..., Any], write: Callable[..., Path]) -> None:
    rows = "".join(f"anna{n} B-PER\nsmith L-PER\n\n" for n in range(20))
    found = clean(task=TASK, train=write("rows.conll", rows), near_duplicates="off", scheme="bilou")
    assert found.meta["scheme"] == "BILOU"
    assert entities_of_bilou(found)["anna3 smith"] == ["anna3 smith"]
    with pytest.raises(FtxError, match="the tag L-PER is none of BIO"):
        clean(task=TASK, train=write("rows.conll", rows), near_duplicates="off", scheme="bio")


def entities_of_bilou(found: Any) -> dict[str, list[str]]:
    splits = [load_rows(found.data, split) for split in ("train", "validation", "test")]
    return {
        text: [text[start:end] for start, end, _ in entities]
        for rows in splits
        for text, entities in zip(rows.texts, rows.labels, strict=True)
    }


def test_columns_between_token_and_tag_and_the_beginnings_of_documents_are_passed_over(
    clean: Callable[..., Any], write: Callable[..., Path]
) -> None:
    rows = "-DOCSTART- -X- O O\n\n" + "".join(f"anna{n} NNP I-NP B-PER\nruns VBZ I-VP O\n\n" for n in range(20))
    found = clean(task=TASK, train=write("rows.conll", rows), near_duplicates="off")
    assert entities_of_bilou(found)["anna7 runs"] == ["anna7"]


def jsonl(rows: int = 30, lead: str = "") -> list[dict[str, Any]]:
    made = []
    for number in range(rows):
        text = f"{lead}{NAMES[number % 10]} n{number} in {PLACES[number % 5]}"
        start, end = len(lead), len(text)
        made.append(
            {
                "text": text,
                "entities": [
                    {"start": end - 4, "end": end, "label": "LOC"},
                    {"start": start, "end": start + 4, "label": "PER"},
                ],
            }
        )
    return made


def lines(rows: list[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


def test_spans_of_jsonl_move_with_the_white_space_before_a_text(
    clean: Callable[..., Any], write: Callable[..., Path]
) -> None:
    found = clean(task=TASK, train=write("rows.jsonl", lines(jsonl(lead=" \u3000"))))
    rows = entities_of(found, "train")
    assert rows and all([kind for _, kind in spans] == ["PER", "LOC"] for spans in rows.values())
    assert all(text.startswith(spans[0][0]) and text.endswith(spans[1][0]) for text, spans in rows.items())


def test_a_row_without_entities_stays_and_one_without_a_list_is_dropped(
    clean: Callable[..., Any], write: Callable[..., Path]
) -> None:
    rows = [*jsonl(), {"text": "nothing here", "entities": []}, {"text": "nobody looked"}]
    found = clean(task=TASK, train=write("rows.jsonl", lines(rows)))
    everything = [text for split in ("train", "validation", "test") for text in entities_of(found, split)]
    assert "nothing here" in everything and "nobody looked" not in everything
    assert found.metrics["rows"]["missing_label"] == 1


def test_the_same_text_with_other_entities_is_a_contradiction(
    clean: Callable[..., Any], write: Callable[..., Path]
) -> None:
    rows = jsonl()
    rows += [{**rows[0], "entities": rows[0]["entities"][:1]}, {**rows[1], "entities": rows[1]["entities"][::-1]}]
    found = clean(task=TASK, train=write("rows.jsonl", lines(rows)))
    assert found.metrics["conflicts"]["groups"] == 1
    assert found.metrics["rows"]["duplicates_exact"] == 1


def test_the_same_entities_in_a_text_with_other_white_space_are_no_contradiction(
    clean: Callable[..., Any], write: Callable[..., Path]
) -> None:
    rows = jsonl()
    spread = rows[0]["text"].replace(" ", "  ").upper()
    size = len(spread)
    entities = [{"start": 0, "end": 4, "label": "PER"}, {"start": size - 4, "end": size, "label": "LOC"}]
    found = clean(task=TASK, train=write("rows.jsonl", lines([*rows, {"text": spread, "entities": entities}])))
    assert found.metrics["conflicts"]["groups"] == 0
    assert found.metrics["rows"]["duplicates_near"] == 1 and found.metrics["rows"]["kept"] == len(rows)
    entities[0]["end"] = 3
    found = clean(task=TASK, train=write("rows.jsonl", lines([*rows, {"text": spread, "entities": entities}])))
    assert found.metrics["conflicts"]["groups"] == 1


def test_a_rare_type_has_its_share_in_every_split(clean: Callable[..., Any], write: Callable[..., Path]) -> None:
    rows = jsonl(100)
    for row in rows[:20]:
        row["entities"][0]["label"] = "RARE"
    found = clean(task=TASK, train=write("rows.jsonl", lines(rows)), near_duplicates="off")
    assert found.metrics["classes"]["test"]["RARE"] == 4
    assert found.metrics["classes"]["validation"]["RARE"] in (1, 2)


BROKEN = {
    "a\tB-PER\nb\n": r"rows.conll, line 2: the token 'b' has no tag",
    "a\tB-PER\n\nb\tX-PER\n": r"line 3: the tag 'X-PER' has no known prefix",
    "a\tB-PER\nb\tPER\n": r"line 2: the tag 'PER' has no known prefix",
    "a\tO\nb\tI-PER\n": r"line 2: broken sequence of tags: I-PER behind O \('b'\)",
    "a\tB-LOC\nb\tI-PER\n": r"line 2: broken sequence of tags: I-PER behind B-LOC",
    "a\tB-PER\n\nb\tI-PER\n": r"line 3: broken sequence of tags: I-PER",
    "a\tU-LOC\nb\tB-PER\nc\tO\n": r"line 2: broken sequence of tags: B-PER \('b'\)",
    "a\tU-LOC\nb\tL-PER\n": r"line 2: broken sequence of tags: L-PER behind U-LOC",
    "a B-PER\nNew York B-LOC\n": r"line 2: 3 columns, and the lines before have 2",
    "a\tO\nb\tO\n": r"no training row has an entity",
}


@pytest.mark.parametrize("content", BROKEN)
def test_what_is_wrong_in_a_conll_file_is_named_with_its_line(
    clean: Callable[..., Any], write: Callable[..., Path], content: str
) -> None:
    with pytest.raises(FtxError, match=BROKEN[content]) as caught:
        clean(task=TASK, train=write("rows.conll", content))
    assert caught.value.hints


WRONG: dict[str, tuple[list[dict[str, Any]], str]] = {
    "outside": ([{"start": 2, "end": 9, "label": "PER"}], r"rows.jsonl, line 31: the entity PER \[2:9\] is not within"),
    "overlapping": (
        [{"start": 0, "end": 2, "label": "PER"}, {"start": 1, "end": 5, "label": "LOC"}],
        r"rows.jsonl, line 31: the entities PER \[0:2\] and LOC \[1:5\] overlap",
    ),
    "empty": ([{"start": 2, "end": 2, "label": "PER"}], r"line 31: the entity PER \[2:2\] is not within"),
    "space": ([{"start": 2, "end": 3, "label": "PER"}], r"line 31: the entity PER \[2:3\] covers white space alone"),
    "nameless": ([{"start": 0, "end": 2}], r"line 31: .* is no entity"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_a_span_is_named_with_its_line(
    clean: Callable[..., Any], write: Callable[..., Path], case: str
) -> None:
    entities, said = WRONG[case]
    with pytest.raises(FtxError, match=said):
        clean(task=TASK, train=write("rows.jsonl", lines([*jsonl(), {"text": "ab cd", "entities": entities}])))


def test_a_type_that_training_rows_lack_is_refused(clean: Callable[..., Any], write: Callable[..., Path]) -> None:
    other = [{"text": "x y", "entities": [{"start": 0, "end": 1, "label": "NEW"}]}]
    with pytest.raises(FtxError, match="the test split has labels that the training rows lack: NEW"):
        clean(task=TASK, train=write("rows.jsonl", lines(jsonl())), test=write("test.jsonl", lines(other)))


@pytest.mark.parametrize(
    ("task", "settings", "said"),
    [
        ("text-classification", {}, "holds a tag for each token, and model.task is text-classification"),
        (TASK, {"text_pair": "other"}, "is of single texts, and data.text_pair names second ones"),
        (TASK, {"folds": 3}, "data.folds is for text-classification"),
    ],
)
def test_what_does_not_go_with_tokens_is_a_problem_of_the_plan(
    write: Callable[..., Path], task: str, settings: dict[str, Any], said: str
) -> None:
    config = DataConfig(train=str(write("rows.conll", conll(2))), **settings)
    problems = list(check(config, ModelSettings("tiny", task)))
    assert any(said in str(problem) and problem.hints for problem in problems)


def test_the_scheme_of_tags_is_a_setting_of_token_classification_alone(write: Callable[..., Path]) -> None:
    config = DataConfig(train=str(write("rows.csv", "text,label\na,b\n")), scheme="bilou")
    [problem] = check(config, ModelSettings("tiny"))
    assert "data.scheme is for token-classification" in str(problem)


def test_a_conll_file_is_one_of_texts_too_where_no_labels_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "rows.conll"
    path.write_text("Anna\tB-PER\nlives\tO\n\nin\tO\nRome\tB-LOC\n", encoding="utf-8")
    settings = "quantize.calibration_data", "quantize.calibration_text", "quantize.calibration_text_pair"
    file = TextFile(path, "text", None, *settings)
    assert not list(file.check())
    assert [row for rows in file.batches() for row in rows] == [("Anna lives",), ("in Rome",)]
    [problem] = TextFile(path, "text", "second", *settings).check()
    assert problem.where == settings[2] and "single texts" in problem.message
