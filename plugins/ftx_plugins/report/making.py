"""How the model was made: training, pruning, quantization, and the race between variants."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ftx_plugins.report import figures
from ftx_plugins.report.charts import Series, curves
from ftx_plugins.report.gather import RunSeen, StepDone
from ftx_plugins.report.quality import Whisker

Json = Mapping[str, Any]
MOST_LAYERS = 24
"""Of a sensitivity that are shown."""


@dataclass(frozen=True)
class Training:
    step: str
    charts: tuple[tuple[Markup, tuple[str, ...]], ...]
    """Each with its lines' names."""
    facts: tuple[tuple[str, str], ...]


def trainings(run: RunSeen) -> list[Training]:
    """The steps that leave a history of epochs."""
    return [_training(step) for step in run.steps if len(step.metrics.get("history") or ()) > 0]


def _training(step: StepDone) -> Training:
    metrics, history = step.metrics, step.metrics["history"]
    kept = metrics.get("best_epoch") if len(history) > 1 else None
    charts = []
    for title, share, wanted in (
        ("loss", False, {"train_loss": "training", "eval_loss": "validation"}),
        ("on validation rows", True, {"accuracy": "accuracy", "f1_macro": "macro F1"}),
    ):
        lines = [
            Series(shown, [(float(e["epoch"]), float(e[name])) for e in history if e.get(name) is not None])
            for name, shown in wanted.items()
        ]
        lines = [line for line in lines if line.points]
        if lines:
            chart = curves(lines, x_title="epoch", y_title=title, share=share, kept=kept)
            charts.append((chart, tuple(line.name for line in lines)))
    facts = []
    if metrics.get("gap") is not None:
        facts.append(("gap of accuracy, training less validation", f"{figures.points(metrics['gap'])} points"))
    for name, title in (
        ("best_epoch", "epoch kept"),
        ("epochs_run", "epochs run"),
        ("rows", "training rows"),
        ("truncated_rows", "rows cut at the maximum length"),
        ("precision", "precision"),
        ("seconds_training", "seconds of training"),
    ):
        if metrics.get(name) is not None:
            facts.append((title, figures.short(metrics[name])))
    return Training(step.name, tuple(charts), tuple(facts))


@dataclass(frozen=True)
class Layer:
    """What pruning left of a layer: heads and width of the feed-forward network, of how many, shares in percent."""

    number: int
    heads: str
    heads_share: float
    width: str
    width_share: float


@dataclass(frozen=True)
class Pruning:
    step: str
    layers: tuple[Layer, ...]
    facts: tuple[tuple[str, str], ...]


def prunings(run: RunSeen) -> list[Pruning]:
    return [_pruning(step) for step in run.of_stage("prune")]


def _pruning(step: StepDone) -> Pruning:
    metrics = step.metrics
    facts = [
        (title, figures.percent(metrics[name]))
        for name, title in (
            ("flops_share", "operations left"),
            ("parameters_share", "parameters left"),
            ("latency_share", "latency left, of torch"),
            ("sparsity", "weights that are zero"),
        )
        if isinstance(metrics.get(name), int | float)
    ]
    accuracy = metrics.get("accuracy")
    if isinstance(accuracy, Mapping):
        said = ", ".join(f"{name} {figures.percent(value)}" for name, value in accuracy.items() if value is not None)
        facts.append(("accuracy on the calibration rows", said))
    return Pruning(step.name, tuple(_layers(metrics)), tuple(facts))


def _layers(metrics: Json) -> list[Layer]:
    heads, widths = metrics.get("heads"), metrics.get("ffn_widths")
    if not isinstance(heads, Mapping) or not isinstance(widths, Mapping):
        return []
    kept = metrics.get("layers") or range(len(heads["after"]))
    if len(heads["before"]) != len(heads["after"]):
        return []  # whole layers went: what is left of each is no share of the same layer
    return [
        Layer(
            int(number),
            f"{heads['after'][place]} of {heads['before'][place]}",
            round(100 * heads["after"][place] / heads["before"][place], 1),
            f"{widths['after'][place]:,} of {widths['before'][place]:,}",
            round(100 * widths["after"][place] / widths["before"][place], 1),
        )
        for place, number in enumerate(kept)
    ]


@dataclass(frozen=True)
class Sensitive:
    """A layer, by how far its quantization alone moves the answers: `share` is its bar, on a logarithmic scale."""

    layer: str
    kl: str
    share: float
    parameters: str
    excluded: bool


@dataclass(frozen=True)
class Quantization:
    step: str
    facts: tuple[tuple[str, str], ...]
    sensitivity: tuple[Sensitive, ...]
    more: int
    """Layers that are not shown."""


def quantizations(run: RunSeen) -> list[Quantization]:
    return [_quantization(step) for step in run.of_stage("quantize")]


def _quantization(step: StepDone) -> Quantization:
    metrics = step.metrics
    recipe = (step.artifact.meta.get("recipe") if step.artifact else None) or {}
    excluded = list(metrics.get("excluded") or recipe.get("exclude") or ())
    facts = []
    if recipe:
        facts.append(("scheme", f"{recipe.get('scheme')}, {recipe.get('activations')} × {recipe.get('weights')}"))
    for name, title in (
        ("layers", "layers quantized"),
        ("calibration", "calibration"),
        ("smooth", "smoothing"),
        ("calibration_rows", "calibration rows"),
    ):
        if metrics.get(name) is not None:
            facts.append((title, figures.short(metrics[name])))
    if isinstance(metrics.get("flip_rate"), int | float):
        rows = f" of {metrics['held_out_rows']} held-out rows" if "held_out_rows" in metrics else ""
        facts.append(("labels changed", f"{figures.percent(metrics['flip_rate'], 2)}{rows}"))
    facts.append(("left in fp32", ", ".join(map(str, excluded)) or "no layer"))
    found = sorted(metrics.get("sensitivity") or (), key=lambda each: -each["kl"])
    return Quantization(step.name, tuple(facts), tuple(_sensitive(found, excluded)), max(0, len(found) - MOST_LAYERS))


def _sensitive(found: Sequence[Json], excluded: Sequence[str]) -> list[Sensitive]:
    logs = [math.log10(max(each["kl"], 1e-12)) for each in found]
    low, high = (min(logs), max(logs)) if logs else (0.0, 0.0)
    reach = max(high - low, 1e-9)
    return [
        Sensitive(
            each["layer"],
            f"{each['kl']:.1e}".replace("-", "−"),
            round(8 + 92 * (log - low) / reach, 1),
            f"{each['parameters']:,}",
            any(name in each["layer"] for name in excluded),
        )
        for each, log in zip(found[:MOST_LAYERS], logs, strict=False)
    ]


@dataclass(frozen=True)
class Raced:
    """One candidate of the choice."""

    variant: str
    runtime: str
    threads: int
    rate: Whisker
    latency: Whisker
    to_fp32: str
    rounds: str
    chosen: bool
    refused: str


@dataclass(frozen=True)
class Race:
    step: str
    candidates: tuple[Raced, ...]
    said: str
    refused: tuple[tuple[str, str], ...]
    skipped: tuple[str, ...]


def race(run: RunSeen) -> Race | None:
    """What the choose step measured: rate and latency of each candidate with their intervals."""
    step = run.race
    if step is None:
        return None
    metrics = step.metrics
    found = metrics["candidates"]
    top_rate = max((each["rows_per_second"]["high"] for each in found), default=1.0)
    top_latency = max((each["p95_ms"]["high"] for each in found), default=1.0)
    chosen = metrics.get("choice", {})
    refused = metrics.get("refused", {})
    raced = tuple(
        Raced(
            each["variant"],
            each["runtime"],
            each["threads"],
            _measured(each["rows_per_second"], top_rate, figures.rate, figures.rate),
            _measured(each["p95_ms"], top_latency, figures.milliseconds, lambda value: figures.plain(value, 2)),
            _ratio(each.get("to_fp32")),
            f"{each['rounds']}{', given up' if each.get('given_up') else ''}",
            all(each[name] == chosen.get(name) for name in ("variant", "runtime", "threads")),
            refused.get(each["variant"], ""),
        )
        for each in found
    )
    mean = figures.plain(metrics.get("mean_tokens"), 1)
    said = f"{metrics.get('texts')} validation texts of {mean} tokens on average, tokenization included; "
    said += f"compared by {metrics.get('prefer')}"
    skipped = tuple(f"{each['name']}: {each['why']}" for each in metrics.get("skipped", ()))
    return Race(step.name, raced, said, tuple(refused.items()), skipped)


def _measured(
    found: Mapping[str, float], top: float, text: Callable[[float], str], end: Callable[[float], str]
) -> Whisker:
    at, low, high = (round(100 * found[name] / top, 2) for name in ("value", "low", "high"))
    return Whisker("", text(found["value"]), f"{end(found['low'])} to {end(found['high'])}", at, low, high, zero=0)


def _ratio(found: Mapping[str, float] | None) -> str:
    return figures.NONE if not found else f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
