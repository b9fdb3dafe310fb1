"""Real components, made small: a BERT of two layers with a WordPiece tokenizer, built in memory once a session."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ftx.artifacts import KINDS, MANIFEST, Artifact, Manifest
from ftx.hashing import hash_folder

WORDS = {
    "positive": ["good", "great", "love", "fine", "happy", "best"],
    "negative": ["bad", "awful", "hate", "poor", "sad", "worst"],
    "neutral": ["table", "street", "tuesday", "paper", "number", "window"],
}
FILLER = ["the", "a", "this", "is", "was", "very", "car", "phone", "it", "today"]


def sentences(rows: int, seed: int = 0) -> list[tuple[str, str]]:
    """(text, label) rows that a tiny model can learn: the label's words among filler, of varying length."""
    choose = random.Random(seed)
    labels = list(WORDS)
    result = []
    for number in range(rows):
        label = labels[number % len(labels)]
        words = choose.choices(FILLER, k=choose.randint(2, 14)) + choose.choices(WORDS[label], k=2)
        choose.shuffle(words)
        result.append((" ".join([*words, f"n{number}"]), label))
    return result


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT encoder without a head: 2 layers, hidden 32, 2 heads, 64 positions; safetensors and a fast tokenizer."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-encoder")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [str(digit) for digit in range(10)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *FILLER, *(w for ws in WORDS.values() for w in ws)]
    vocabulary += [*letters, *(f"##{letter}" for letter in letters)]
    unique = list(dict.fromkeys(vocabulary))
    (folder / "vocab.txt").write_text("\n".join(unique), encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=64)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(unique),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_classifier(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny encoder with a head of three labels, quickly trained on `sentences`: confident, and not constant."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path_factory.mktemp("tiny-classifier")
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    labels = list(WORDS)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(
        tiny_encoder, num_labels=3, id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)}
    )
    rows = sentences(192, seed=1)
    batch = tokenizer([text for text, _ in rows], padding=True, return_tensors="pt")
    target = torch.tensor([labels.index(label) for _, label in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(30):
        loss = model(**batch, labels=target).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_sentences() -> Callable[..., list[tuple[str, str]]]:
    """`make_sentences(rows, seed=0)`: (text, label) rows."""
    return sentences


@pytest.fixture
def sentences_csv(tmp_path: Path) -> Path:
    """150 rows of `sentences` as a csv with the columns `text` and `label`."""
    return write_csv(tmp_path / "sentences.csv", sentences(150))


def write_csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows), encoding="utf-8")
    return path


@pytest.fixture
def as_artifact() -> Callable[..., Artifact]:
    """`as_artifact(folder, kind, **meta)`: the artifact of that kind whose files are those of `folder`."""

    def make(folder: Path, kind: str, *, metrics: Mapping[str, Any] | None = None, **meta: Any) -> Artifact:
        manifest = Manifest(kind=kind, files=hash_folder(folder), meta=meta, metrics=metrics or {})
        (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        return KINDS[kind](folder, manifest)

    return make


class Recorder:
    """Keeps what a step says through its context."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def __call__(self, name: str, values: Mapping[str, Any]) -> None:
        self.events.append((name, values))

    def messages(self, name: str) -> list[str]:
        return [values["message"] for event, values in self.events if event == name]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def make_context(tmp_path: Path, recorder: Recorder) -> Callable[..., Any]:
    """`make_context(step="train:finetune", seed=0, **ModelSettings fields)`: a context with fresh `out` and `work`."""
    from ftx.plugins import PluginManager
    from ftx.step import Context, ModelSettings

    made = 0

    def make(step: str = "test:step", seed: int = 0, work: Path | None = None, **model: Any) -> Context:
        nonlocal made
        made += 1
        out = tmp_path / f"out-{made}"
        work = work or tmp_path / f"work-{made}"
        out.mkdir()
        work.mkdir(exist_ok=True)
        settings = ModelSettings(**{"name": "tiny", **model})
        plugins = PluginManager.load(third_party=False)
        return Context(step, out, work, seed, "cpu", settings, plugins, recorder)

    return make


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """`sentences` as a data set artifact: 96 rows to train, 48 to validate, 48 to test."""
    import pyarrow as pa

    folder = tmp_path_factory.mktemp("tiny-dataset")
    labels = list(WORDS)
    for split, rows, seed in (("train", 96, 2), ("validation", 48, 3), ("test", 48, 4)):
        texts, names = zip(*sentences(rows, seed), strict=True)
        table = pa.table(
            {"text": list(texts), "label": [labels.index(name) for name in names], "row": list(range(rows))}
        )
        with pa.OSFile(str(folder / f"{split}.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    manifest = Manifest(kind="dataset", files=hash_folder(folder), meta={"labels": labels})
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return KINDS["dataset"](folder, manifest)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_classifier: Path, tiny_dataset: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The tiny classifier quantized (dynamic int8) and exported to both formats: four variants."""
    from ftx.plugins import PluginManager
    from ftx.step import Context, ModelSettings
    from ftx_plugins.export.config import BundleConfig
    from ftx_plugins.export.run import run_bundle
    from ftx_plugins.quantize.recipe import Recipe

    root = tmp_path_factory.mktemp("tiny-bundle")
    out, work = root / "bundle", root / "work"
    out.mkdir()
    recipe = Recipe(reduce_range=False).to_dict()
    manifest = Manifest("checkpoint", hash_folder(tiny_classifier), {"recipe": recipe, "task": "text-classification"})
    model = KINDS["checkpoint"](tiny_classifier, manifest)
    plugins = PluginManager.load(third_party=False)
    context = Context("export:bundle", out, work, 0, "cpu", ModelSettings("tiny"), plugins)
    metrics = run_bundle(BundleConfig(), {"model": model, "data": tiny_dataset}, context)
    bundle = Manifest("bundle", hash_folder(out), context.meta, metrics)
    (out / MANIFEST).write_text(bundle.to_json(), encoding="utf-8")
    return KINDS["bundle"](out, bundle)
