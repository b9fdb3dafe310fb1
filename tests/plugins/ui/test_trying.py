"""A bundle to try."""

from __future__ import annotations

from urllib.parse import urlencode

from tests.plugins.ui.conftest import HOSTILE, Site
from tests.plugins.ui.test_pages import words

from ftx.plugins import PluginManager
from ftx.tasks import TOKEN_CLASSIFICATION
from ftx_plugins.ui.trying import Scored, Tryout, _scores
from ftx_serving.predictor import Predictor


def form(digest: str, text: str, variant: str = "") -> str:
    return urlencode({"bundle": digest, "text": text, "variant": variant})


def test_a_text_gets_the_labels_and_scores_of_the_predictor(with_bundle: tuple[Site, str]) -> None:
    site, digest = with_bundle
    runtimes = PluginManager.load(third_party=False).runtimes()
    predictor = Predictor.load(site.store.objects / digest, runtimes=runtimes, variant="onnx-fp32")
    expected = predictor.predict(["a good film"])[0]
    page = site.post("/try", form(digest, "a good film", "onnx-fp32")).text
    said = words(page)
    assert " ".join(f"{each['label']} {100 * each['score']:.1f}%" for each in expected) in said
    assert "Computed by onnx-fp32 with onnxruntime" in said
    assert "a good film</textarea>" in page


def test_a_text_with_markup_shows_as_text(with_bundle: tuple[Site, str]) -> None:
    site, digest = with_bundle
    page = site.post("/try", form(digest, f"</textarea>{HOSTILE}")).text
    assert "</textarea><script>" not in page and "&lt;/textarea&gt;&lt;script&gt;" in page


def test_what_is_not_a_variant_is_said_and_the_text_stays(with_bundle: tuple[Site, str]) -> None:
    site, digest = with_bundle
    answer = site.post("/try", form(digest, "hello", "onnx-int2"))
    assert answer.status == 400
    assert "has no variant onnx-int2" in answer.text and "hello</textarea>" in answer.text


def test_an_artifact_that_is_no_bundle_is_refused(filled: Site) -> None:
    digest = filled.store.digests()[0]
    assert filled.get(f"/try?bundle={digest}").status == 400
    assert filled.get("/try?bundle=../../etc").status == 404


def test_the_predictor_stays_loaded_until_another_is_asked_for(
    with_bundle: tuple[Site, str], monkeypatch: object
) -> None:
    site, digest = with_bundle
    tryout = Tryout(PluginManager.load(third_party=False))
    bundle = site.store.open(digest)
    tryout.predict(bundle, "one", None, "onnx-fp32")
    first = tryout._predictor
    tryout.predict(bundle, "two", None, "onnx-fp32")
    assert tryout._predictor is first
    tried = tryout.predict(bundle, "two", None, "onnx-int8")
    assert tried.variant == "onnx-int8" and tryout._predictor is not first


def test_entities_are_told_with_their_texts_and_places() -> None:
    answers = [
        {"label": "PER", "score": 0.9, "start": 0, "end": 3, "text": "Ada"},
        {"label": "LOC", "score": 0.8, "start": 9, "end": 13, "text": "Rome"},
    ]
    assert _scores(answers, TOKEN_CLASSIFICATION) == (
        Scored("Ada PER [0:3]", "90.0%", 90.0, True),
        Scored("Rome LOC [9:13]", "80.0%", 80.0, True),
    )
