"""Real components, made small, in seconds: a BERT of two layers with a WordPiece tokenizer, a data set, a bundle."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from ftx.artifacts import KINDS, MANIFEST, Artifact, Manifest
from ftx.hashing import hash_folder
from ftx.plugins import PluginManager
from ftx.step import Context, ModelSettings, Step, load_by_name

WORDS = {
    "positive": ["good", "great", "love", "fine", "happy", "best"],
    "negative": ["bad", "awful", "hate", "poor", "sad", "worst"],
    "neutral": ["table", "street", "tuesday", "paper", "number", "window"],
}
FILLER = ["the", "a", "this", "is", "was", "very", "car", "phone", "it", "today"]
TASK = "text-classification"


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


def write_csv(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    """`rows` as a csv with the columns `text` and `label`."""
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows), encoding="utf-8")
    return path


def make_artifact(
    folder: Path, kind: str, *, metrics: Mapping[str, Any] | None = None, meta: Mapping[str, Any] | None = None
) -> Artifact:
    """The artifact of that kind whose files are those of `folder`; its manifest is written there."""
    manifest = Manifest(kind=kind, files=hash_folder(folder), meta=meta or {}, metrics=metrics or {})
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return KINDS[kind](folder, manifest)


def write_encoder(folder: Path) -> Path:
    """A BERT encoder without a head: 2 layers, hidden 32, 2 heads, 64 positions; safetensors and a fast tokenizer."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [str(digit) for digit in range(10)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *FILLER, *(w for ws in WORDS.values() for w in ws)]
    vocabulary += [*letters, *(f"##{letter}" for letter in letters)]
    unique = list(dict.fromkeys(vocabulary))
    folder.mkdir(parents=True, exist_ok=True)
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


def write_classifier(folder: Path, encoder: Path) -> Path:
    """The tiny encoder with a head of three labels, quickly trained on `sentences`: confident, and not constant."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    labels = list(WORDS)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(
        encoder, num_labels=3, id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)}
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


def write_dataset(folder: Path) -> Artifact:
    """`sentences` as a data set artifact: 96 rows to train, 48 to validate, 48 to test."""
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    labels = list(WORDS)
    for split, rows, seed in (("train", 96, 2), ("validation", 48, 3), ("test", 48, 4)):
        texts, names = zip(*sentences(rows, seed), strict=True)
        table = pa.table(
            {"text": list(texts), "label": [labels.index(name) for name in names], "row": list(range(rows))}
        )
        with pa.OSFile(str(folder / f"{split}.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    return make_artifact(folder, "dataset", meta={"labels": labels})


def write_bundle(folder: Path, classifier: Path, data: Artifact) -> Artifact:
    """The classifier quantized (dynamic int8) and exported to ONNX and TorchScript: four variants."""
    plugins = PluginManager.load(third_party=False)
    recipe = load_by_name("ftx_plugins.quantize.recipe:Recipe")(reduce_range=False).to_dict()
    manifest = Manifest("checkpoint", hash_folder(classifier), {"recipe": recipe, "task": TASK})
    model = KINDS["checkpoint"](classifier, manifest)
    inputs = {"model": model, "data": data}
    formats = ("onnx", "torchscript")
    bundle: Artifact = make_with(plugins.steps()["export:bundle"], folder, inputs, plugins, formats=formats)
    return bundle


def make_with(step: Step, folder: Path, inputs: Mapping[str, Artifact], plugins: PluginManager, **settings: Any) -> Any:
    """The artifact that `step` makes of `inputs`, in `folder`/out; its work folder is beside it."""
    out, work = folder / "out", folder / "work"
    out.mkdir(parents=True)
    work.mkdir()
    context = Context(step.full_name, out, work, 0, "cpu", ModelSettings("tiny"), plugins)
    metrics = load_by_name(step.run)(step.config(**settings), inputs, context)
    kind = type(inputs["model"]) if step.gives == "model" else step.gives
    return None if kind is None else make_artifact(out, kind.kind, metrics=metrics, meta=context.meta)


def inputs_for(step: Step, make: Callable[[str], Artifact]) -> dict[str, Artifact]:
    """For each input that `step` needs, what `make` gives for the first of its kinds: checkpoint, dataset or bundle."""
    inputs = {}
    for name, wanted in step.takes.items():
        kinds = get_args(wanted) or (wanted,)
        if NoneType in kinds:
            continue
        known = [kind.kind for kind in kinds if kind.kind in ("checkpoint", "dataset", "bundle")]
        if known:
            inputs[name] = make(known[0])
    return inputs
