"""Token classification made small: a data set out of a conll file, a tagger trained on it, and its bundle."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from ftx.artifacts import Artifact
from ftx.plugins import PluginManager
from ftx.step import Context, ModelSettings, load_by_name
from ftx.testing import tiny
from ftx.testing.tiny import FILLER, WORDS

TASK = "token-classification"
TYPES = {"GOOD": WORDS["positive"], "BAD": WORDS["negative"]}
"""Type -> the words that its entities are made of: one of the first three, and perhaps one of the others behind it."""


def conll(rows: int, seed: int = 0) -> str:
    """Sentences of filler with entities that a tiny model can learn."""
    choose = random.Random(seed)
    sentences = []
    for number in range(rows):
        parts = [[(word, "O")] for word in choose.choices(FILLER, k=choose.randint(2, 9))]
        for kind in choose.sample(sorted(TYPES), k=choose.randint(0, 2)):
            first, second = TYPES[kind][:3], TYPES[kind][3:]
            words = [choose.choice(first), choose.choice(second)][: choose.randint(1, 2)]
            parts.append([(word, f"{'I' if place else 'B'}-{kind}") for place, word in enumerate(words)])
        choose.shuffle(parts)
        # A filler word between any two entities: two of a type side by side could not be told from one.
        lines = [pair for part in parts for pair in [*part, ("the", "O")]] + [(f"n{number}", "O")]
        sentences.append("".join(f"{word}\t{tag}\n" for word, tag in lines))
    return "\n".join(sentences)


Carry = Callable[..., Artifact]


@pytest.fixture(scope="session")
def carry(tmp_path_factory: pytest.TempPathFactory) -> Carry:
    """`carry("quantize:static", inputs, **settings)`: what the step makes of the inputs."""
    plugins = PluginManager.load(third_party=False)

    def go(name: str, inputs: dict[str, Artifact], gives: str = "", **settings: Any) -> Artifact:
        step = plugins.steps()[name]
        folder = tmp_path_factory.mktemp(name.replace(":", "-"))
        out, work = folder / "out", folder / "work"
        out.mkdir()
        work.mkdir()
        context = Context(step.full_name, out, work, 0, "cpu", ModelSettings("tiny", TASK), plugins)
        metrics = load_by_name(step.run)(step.config(**settings), inputs, context)
        kind = type(inputs["model"]) if step.gives == "model" else step.gives
        return tiny.make_artifact(out, kind.kind, metrics=metrics, meta=context.meta)

    return go


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tiny.write_encoder(tmp_path_factory.mktemp("token-encoder"))
    return tiny.make_artifact(folder, "checkpoint")


@pytest.fixture(scope="session")
def data(carry: Carry, encoder: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    file = tmp_path_factory.mktemp("rows") / "rows.conll"
    file.write_text(conll(260), encoding="utf-8")
    return carry("data:clean", {"model": encoder}, train=str(file), near_duplicates="off", validation_size=0.25)


@pytest.fixture(scope="session")
def tagger(carry: Carry, encoder: Artifact, data: Artifact) -> Artifact:
    settings = {"epochs": 10, "learning_rate": 5e-3, "dropout": 0.0, "early_stopping": 0, "mixed_precision": "fp32"}
    return carry("train:finetune", {"model": encoder, "data": data}, **settings)


@pytest.fixture(scope="session")
def quantized(carry: Carry, tagger: Artifact, data: Artifact) -> Artifact:
    return carry("quantize:static", {"model": tagger, "data": data}, calibration_rows=40, choice_rows=20)


@pytest.fixture(scope="session")
def bundle(carry: Carry, quantized: Artifact, data: Artifact) -> Artifact:
    """fp32 and static int8 in ONNX and OpenVINO, and fp32 in TorchScript."""
    formats = ("openvino", "onnx", "torchscript")
    return carry("export:bundle", {"model": quantized, "data": data}, formats=formats, parity_texts=10, golden_texts=4)
