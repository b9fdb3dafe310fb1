"""A tagger quantized, exported, evaluated against itself, and asked: the same entities everywhere."""

from __future__ import annotations

import csv
from itertools import chain
from typing import Any

import numpy as np
import pytest

from ftx.artifacts import Artifact, Bundle
from ftx.errors import FtxError
from ftx.plugins import PluginManager
from ftx_plugins.predict import predict as predict_by_checkpoint
from ftx_serving.contract import Contract
from ftx_serving.golden import check_golden, read_golden
from ftx_serving.predictor import Predictor

TEXTS = ["the good happy car was bad", "  it is awful\u3000sad today", "zebra love very", "nothing", ""]
LIMITS = {"latency_rows": 20, "invariance_rows": 8}


def load(bundle: Artifact, variant: str, **options: Any) -> Predictor:
    runtimes = PluginManager.load(third_party=False).runtimes()
    return Predictor.load(bundle.path, runtimes=runtimes, variant=variant, **options)


def variants(bundle: Artifact) -> list[str]:
    return [variant.name for variant in Contract.from_meta(bundle.meta).variants]


def without_scores(answers: list[Any]) -> list[Any]:
    return [[{name: value for name, value in each.items() if name != "score"} for each in answer] for answer in answers]


def test_the_contract_says_the_task_and_the_tags(bundle: Artifact, tagger: Artifact) -> None:
    contract = Contract.from_meta(bundle.meta)
    assert contract.task == "token-classification"
    assert contract.labels == tuple(tagger.meta["labels"])
    formats = {"openvino-fp32", "openvino-int8", "onnx-fp32", "onnx-int8", "torchscript-fp32", "torchscript-int8"}
    assert set(variants(bundle)) <= formats and {"openvino-int8", "onnx-int8", "torchscript-fp32"} <= set(
        variants(bundle)
    )
    for variant in contract.variants:
        assert {"length 1", "max length", "left padding", "holes in the mask"} <= set(variant.parity["cases"])
        assert variant.batch_invariant and variant.parity["batch_flips"] == 0
        if variant.precision == "fp32":
            assert variant.parity["max_difference"] <= 1e-4


def test_checkpoint_and_all_variants_find_the_same_entities_with_their_places(
    bundle: Artifact, tagger: Artifact
) -> None:
    plugins = PluginManager.load(third_party=False)
    by_checkpoint, _ = predict_by_checkpoint(tagger, TEXTS, None, plugins)  # type: ignore[arg-type]
    found = [[(each["label"], each["text"]) for each in answer] for answer in by_checkpoint]
    assert found[:2] == [[("GOOD", "good happy"), ("BAD", "bad")], [("BAD", "awful\u3000sad")]]
    assert found[3:] == [[], []]
    for text, answer in zip(TEXTS, by_checkpoint, strict=True):
        assert all(text[each["start"] : each["end"]] == each["text"] for each in answer)
        assert all(0.5 < each["score"] <= 1 for each in answer)
    for name in variants(bundle):
        answers = load(bundle, name).predict(TEXTS)
        assert without_scores(answers) == without_scores(by_checkpoint), name
        if name.endswith("fp32"):
            for mine, theirs in zip(chain(*answers), chain(*by_checkpoint), strict=True):
                assert mine["score"] == pytest.approx(theirs["score"], abs=1e-4)


def test_a_texts_entities_do_not_depend_on_its_batch(bundle: Artifact) -> None:
    predictor = load(bundle, "onnx-fp32")
    together = predictor.logits(TEXTS)
    for row, text in enumerate(TEXTS):
        alone = predictor.logits([text])[0]
        assert np.allclose(together[row, : len(alone)], alone, atol=1e-5)
        assert not together[row, len(alone) :].any()


def test_a_long_text_loses_the_entities_behind_its_limit_and_no_place_moves(bundle: Artifact, tagger: Artifact) -> None:
    plugins = PluginManager.load(third_party=False)
    text = "good happy " + "the car " * 40 + "bad"  # 64 tokens at most
    by_checkpoint, _ = predict_by_checkpoint(tagger, [text, "the bad"], None, plugins)  # type: ignore[arg-type]
    answers = load(bundle, "onnx-fp32").predict([text, "the bad"])
    assert without_scores(answers) == without_scores(by_checkpoint)
    assert [each["text"] for each in answers[0]] == ["good happy"] and answers[1][0]["start"] == 4


def test_golden_examples_hold_the_logits_of_words_and_catch_another_model(bundle: Artifact) -> None:
    assert isinstance(bundle, Bundle)
    golden = read_golden(bundle)
    words = load(bundle, "onnx-fp32").encoder.words(golden.texts)
    assert [len(logits["onnx-int8"]) for logits in golden.logits] == [len(each) for each in words]
    for name in variants(bundle):
        check_golden(bundle, load(bundle, name))
    wrong = load(bundle, "onnx-fp32")
    session = wrong.session
    wrong.session = lambda **inputs: session(**inputs)[:, ::-1]  # type: ignore[assignment]
    with pytest.raises(FtxError, match="does not answer the bundle's golden examples"):
        check_golden(bundle, wrong)


@pytest.fixture(scope="module")
def evaluation(carry: Any, bundle: Artifact, tagger: Artifact, data: Artifact) -> Artifact:
    baseline = carry("evaluate:validation", {"model": tagger, "reference": tagger, "data": data}, **LIMITS)
    inputs = {"model": bundle, "reference": tagger, "data": data, "baseline": baseline}
    found: Artifact = carry("evaluate:validation", inputs, **LIMITS)
    return found


def test_an_evaluation_of_all_variants_has_entity_figures_and_flips(evaluation: Artifact, bundle: Artifact) -> None:
    document = evaluation.manifest.metrics
    assert {model["variant"] for model in document["models"]} == set(variants(bundle))
    for model in document["models"]:
        assert model["entity_f1"] > 0.85
        assert set(model["intervals"]) >= {
            "entity_f1",
            "entity_precision",
            "entity_recall",
            "token_accuracy",
            "flip_rate",
        }
        assert {each["slice"] for each in model["classes"]} == {"GOOD", "BAD"}
        assert model["against_reference"]["entity_f1"]["difference"] == pytest.approx(0, abs=0.1)
        assert model["invariance"]["rows"] == 8
        if not model["quantized"]:
            assert model["flips"] == 0 and model["max_logit_difference"] < 1e-3


def test_flips_show_entities_before_and_after(
    carry: Any, bundle: Artifact, tagger: Artifact, data: Artifact, encoder: Artifact
) -> None:
    quick = {"epochs": 2, "learning_rate": 5e-3, "mixed_precision": "fp32"}
    worse = carry("train:finetune", {"model": encoder, "data": data}, **quick)
    found = carry("evaluate:validation", {"model": worse, "reference": tagger, "data": data}, **LIMITS)
    [model] = found.manifest.metrics["models"]
    assert 0 < model["negative_flips"] <= model["flips"]
    with (found.path / "flips.csv").open(newline="") as file:
        flips = list(csv.DictReader(file))
    assert len(flips) == model["flips"]
    for flip in flips:
        assert flip["before"] != flip["after"]
        for shown in filter(None, flip["before"].split(" | ")):
            kind, _, text = shown.partition(": ")
            assert kind in ("GOOD", "BAD") and text in flip["text"]


def test_dynamic_and_automatic_recipes_work_on_tags(carry: Any, tagger: Artifact, data: Artifact) -> None:
    few = {"calibration_rows": 24, "choice_rows": 12}
    automatic = carry(
        "quantize:auto", {"model": tagger, "data": data}, **few, held_out_rows=20, sensitivity_rows=4, flip_rate=0.2
    )
    metrics = automatic.manifest.metrics
    assert metrics["held_out_rows"] == 20 and 0 <= metrics["flip_rate"] <= 1
    assert all(each["kl"] >= 0 for each in metrics["sensitivity"])
    dynamic = carry("quantize:dynamic", {"model": tagger})
    exported = carry("export:onnx", {"model": dynamic, "data": data}, parity_texts=8, golden_texts=2)
    assert set(variants(exported)) == {"onnx-fp32", "onnx-int8"}
    answers = load(exported, "onnx-int8").predict(TEXTS)
    assert [each["text"] for each in answers[0]] == ["good happy", "bad"]


def test_static_int8_of_a_bundle_is_what_the_recipe_of_its_checkpoint_gives(
    carry: Any, tagger: Artifact, data: Artifact, bundle: Artifact
) -> None:
    exported = carry("export:onnx", {"model": tagger, "data": data}, parity_texts=8, golden_texts=2)
    lowered = carry("quantize:static", {"model": exported, "data": data}, calibration_rows=40, choice_rows=20)
    ours, theirs = (load(each, "onnx-int8").logits(TEXTS[:3]) for each in (lowered, bundle))
    assert np.allclose(ours, theirs, atol=1e-3)


def test_the_fastest_variant_is_chosen_and_its_card_speaks_of_entities(
    carry: Any, bundle: Artifact, data: Artifact, evaluation: Artifact
) -> None:
    inputs = {"model": bundle, "data": data, "evaluation": evaluation}
    chosen = carry("choose:fastest", inputs, seconds=0.01, threads=(1,), batch_size=4)
    assert chosen.meta["choice"]["variant"] in variants(bundle)
    assert set(chosen.meta["profile"]["label_shares"]) == {"GOOD", "BAD"}
    card = (chosen.path / "README.md").read_text(encoding="utf-8")
    assert "Finds entities in a text" in card and "Entity F1" in card and "pipeline_tag: token-classification" in card
