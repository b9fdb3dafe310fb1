"""Temperature scaling: fitted at export, applied where scores are made."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from ftx.artifacts import MANIFEST, open_artifact
from ftx.plugins import PluginManager
from ftx_plugins.checkpoint import compute_logits, load_checkpoint
from ftx_plugins.export.temperature import fit_temperature, temperature_of
from ftx_serving.contract import Contract, Variant
from ftx_serving.decoding import SingleLabel, softmax
from ftx_serving.predictor import Predictor


def sample(rows=4000, classes=3):
    """Labels drawn from the softmax of logits, and those logits."""
    random = np.random.default_rng(0)
    logits = random.normal(scale=2, size=(rows, classes))
    chances = softmax(logits).cumsum(axis=1)
    return logits.astype(np.float32), (random.random(rows)[:, None] > chances).sum(axis=1).clip(max=classes - 1)


@pytest.mark.parametrize("exaggeration", [0.5, 1.0, 3.0])
def test_the_temperature_is_by_how_much_the_logits_exaggerate(exaggeration):
    logits, labels = sample()
    assert fit_temperature(logits * exaggeration, labels) == pytest.approx(exaggeration, rel=0.06)


def test_the_likelihood_is_nowhere_larger():
    logits, labels = sample(300)
    logits = logits * 2

    def loss(temperature):
        return -np.log(softmax(logits, temperature)[np.arange(len(labels)), labels]).mean()

    fitted = fit_temperature(logits, labels)
    assert loss(fitted) <= min(loss(temperature) for temperature in np.linspace(0.3, 6, 500)) + 1e-7


def test_rows_that_are_all_right_tell_no_temperature():
    logits, _ = sample(200)
    assert fit_temperature(logits, logits.argmax(axis=1)) is None


def test_scaling_keeps_the_ranking_even_where_scores_vanish():
    logits = np.array([[100.0, 0.0, 50.0, -700.0]], dtype=np.float32)
    decoder = SingleLabel(("a", "b", "c", "d"))
    for temperature in (0.05, 1.0, 7.0):
        [answer] = decoder.answers(logits, temperature=temperature)
        assert [entry["label"] for entry in answer] == ["a", "c", "b", "d"]
    [warm] = decoder.answers(logits, temperature=100)
    assert warm[0]["score"] == pytest.approx(softmax(logits[0] / 100)[0])


@pytest.fixture
def data(tmp_path, make_sentences, as_artifact, tiny_classifier):
    """A data set whose 150 validation rows hold as many wrong labels as make the classifier too sure."""
    folder = tmp_path / "data"
    folder.mkdir()
    names = ["positive", "negative", "neutral"]
    texts, labels = zip(*make_sentences(150, seed=5), strict=True)
    wrong = [names[(names.index(label) + (row % 5 == 0)) % 3] for row, label in enumerate(labels)]
    table = pa.table({"text": texts, "label": [names.index(name) for name in wrong], "row": list(range(150))})
    with pa.OSFile(str(folder / "validation.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return as_artifact(folder, "dataset", labels=names)


def test_a_model_that_is_too_sure_is_cooled_down_on_validation_rows(
    data, tiny_classifier, make_context, make_sentences
):
    loaded = load_checkpoint(tiny_classifier)
    temperature = temperature_of(loaded, data, 512, make_context("export:bundle"))
    assert temperature > 1.3
    texts, names = zip(*make_sentences(150, seed=5), strict=True)
    logits = compute_logits(loaded, texts)
    labels = np.array([loaded.labels.index(name) for name in names])
    labels = np.where(np.arange(150) % 5 == 0, (labels + 1) % 3, labels)
    rows = np.arange(150)
    losses = [-np.log(softmax(logits, heat)[rows, labels]).mean() for heat in (1.0, temperature)]
    assert losses[1] < losses[0]
    assert temperature_of(loaded, data, 0, make_context("export:bundle")) == 1


def test_with_few_validation_rows_it_stays_one_and_says_so(tiny_dataset, tiny_classifier, make_context, recorder):
    assert temperature_of(load_checkpoint(tiny_classifier), tiny_dataset, 512, make_context("export:bundle")) == 1
    assert "temperature 1: it takes 100 validation rows" in recorder.messages("log")[-1]


def with_variants(bundle, folder, change):
    """A copy of the bundle with its variants' entries changed."""
    shutil.copytree(bundle.path, folder)
    raw = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    raw["meta"]["variants"] = [change(dict(variant)) for variant in raw["meta"]["variants"]]
    raw.pop("digest")
    manifest = replace(bundle.manifest, meta=raw["meta"])
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return open_artifact(folder)


def test_scores_are_those_of_the_variants_temperature_and_labels_stay(tiny_bundle, tmp_path):
    runtimes = PluginManager.load(third_party=False).runtimes()
    heated = with_variants(tiny_bundle, tmp_path / "heated", lambda variant: variant | {"temperature": 4.0})
    texts = ["the car was good", "awful phone", "table street"]
    plain = Predictor.load(tiny_bundle.path, runtimes=runtimes, variant="onnx-fp32")
    warm = Predictor.load(heated.path, runtimes=runtimes, variant="onnx-fp32")
    for before, after, logits in zip(plain.predict(texts), warm.predict(texts), plain.logits(texts), strict=True):
        assert [entry["label"] for entry in before] == [entry["label"] for entry in after]
        assert after[0]["score"] == pytest.approx(softmax(logits / 4).max())
        assert after[0]["score"] < before[0]["score"]


def test_a_bundle_without_the_field_has_temperature_one(tiny_bundle, tmp_path):
    def without(variant):
        variant.pop("temperature")
        return variant

    old = with_variants(tiny_bundle, tmp_path / "old", without)
    assert {variant.temperature for variant in Contract.from_meta(old.meta).variants} == {1.0}
    runtimes = PluginManager.load(third_party=False).runtimes()
    predictor = Predictor.load(old.path, runtimes=runtimes)
    assert isinstance(predictor.variant, Variant)
    assert sum(entry["score"] for entry in predictor.predict(["good"])[0]) == pytest.approx(1)


def test_variants_take_the_temperature_of_the_model_they_are_made_of(
    data, tiny_classifier, as_artifact, make_context, tmp_path
):
    from ftx_plugins.export.config import BundleConfig
    from ftx_plugins.export.run import run_bundle
    from ftx_plugins.quantize.recipe import Recipe

    copy = shutil.copytree(tiny_classifier, tmp_path / "model")
    model = as_artifact(copy, "checkpoint", recipe=Recipe(reduce_range=False).to_dict())
    context = make_context("export:bundle")
    config = BundleConfig(formats=("torchscript",), parity_texts=8, golden_texts=4)
    metrics = run_bundle(config, {"model": model, "data": data}, context)
    found = {variant["name"]: variant["temperature"] for variant in context.meta["variants"]}
    assert metrics["temperature"] > 1.3
    assert found == dict.fromkeys(("torchscript-fp32", "torchscript-int8"), metrics["temperature"])
