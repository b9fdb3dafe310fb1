"""`quantize:auto`: static int8 that leaves the layers in fp32 that cost most, until what is lost is within limits."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx.step import Context
from ftx_plugins.quantize.config import AutoConfig
from ftx_plugins.quantize.deciding import Workbench, choose_recipe, open_workbench, write_down
from ftx_plugins.quantize.recipe import Recipe
from ftx_plugins.quantize.samples import Sample

SENSITIVITIES = "sensitivities.json"


@dataclass(frozen=True)
class Sensitivity:
    """What quantizing one layer alone does: the KL divergence from fp32, in nats, and how many parameters it has."""

    layer: str
    kl: float
    parameters: int


@dataclass(frozen=True)
class Loss:
    """What a recipe with the first `excluded` layers of the ranking in fp32 loses on the held-out rows."""

    excluded: int
    flip_rate: float
    accuracy_drop: float
    kl: float

    def within(self, config: AutoConfig) -> bool:
        return self.flip_rate <= config.flip_rate and self.accuracy_drop <= config.accuracy_drop

    def to_dict(self) -> dict[str, Any]:
        return {
            "excluded": self.excluded,
            "flip_rate": round(self.flip_rate, 5),
            "accuracy_drop": round(self.accuracy_drop, 5),
            "kl": float(f"{self.kl:.3g}"),
        }


def run(config: AutoConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Calibrate as `quantize:static` does, rank the layers, and leave out as few as the limits allow.

    A layer that was measured before a kill is not measured again.
    """
    bench = open_workbench(inputs, config, context, held_out=config.held_out_rows)
    if not len(bench.samples.held_out):
        raise FtxError(
            "the validation split has too few rows to hold a recipe against",
            "give more: data.validation_size",
            "or quantize every layer: ftx run quantize:static",
        )
    recipe, tried = choose_recipe(bench, config, inputs["data"], context)
    ranking = _rank(_measure(bench, recipe, config, context))
    best, losses = _search(bench, recipe, ranking, config, context)
    left = [sensitivity.layer for sensitivity in ranking[: best.excluded]]
    final = replace(recipe, exclude=(*recipe.exclude, *left))
    facts = write_down(inputs, final, bench, context)
    return {
        **facts,
        "held_out_rows": len(bench.samples.held_out),
        "excluded": left,
        **{name: value for name, value in best.to_dict().items() if name != "excluded"},
        "within_limits": best.within(config),
        "tried": tried,
        "searched": [loss.to_dict() for loss in losses],
        "sensitivity": [
            {"layer": found.layer, "kl": float(f"{found.kl:.3g}"), "parameters": found.parameters} for found in ranking
        ],
    }


def _measure(bench: Workbench, recipe: Recipe, config: AutoConfig, context: Context) -> list[Sensitivity]:
    """Each layer's sensitivity on calibration rows; what `context.work` holds already is taken from there."""
    sample = bench.samples.calibration.first(config.sensitivity_rows)
    expected = sample.logits(bench.subject.session(None))
    layers = bench.subject.modules(recipe)
    parameters = bench.subject.parameters()
    file = context.work / SENSITIVITIES
    known: dict[str, float] = json.loads(file.read_text()) if file.is_file() else {}
    for place, layer in enumerate(layers):
        if layer not in known:
            alone = replace(recipe, exclude=(*recipe.exclude, *(other for other in layers if other != layer)))
            known[layer] = sample.divergence(expected, bench.subject.session(alone))
            _write(file, known)
        context.progress(place + 1, len(layers), "layers", doing="sensitivity", layer=layer)
    return [Sensitivity(layer, known[layer], parameters[layer]) for layer in layers]


def _rank(sensitivities: Sequence[Sensitivity]) -> list[Sensitivity]:
    """The most worth leaving in fp32 first: by loss for each parameter, as size goes with them, and a layer's time."""
    return sorted(sensitivities, key=lambda found: (-found.kl / found.parameters, found.layer))


def _search(
    bench: Workbench, recipe: Recipe, ranking: Sequence[Sensitivity], config: AutoConfig, context: Context
) -> tuple[Loss, list[Loss]]:
    """The fewest of the ranking to leave out so that the limits hold, and all that was tried.

    By doubling, then by halving the interval. Where no number is enough, the one that loses least, with a warning.
    """
    expected = bench.samples.held_out.logits(bench.subject.session(None))
    tried: dict[int, Loss] = {}

    def holds(excluded: int) -> bool:
        left = tuple(found.layer for found in ranking[:excluded])
        tried_recipe = replace(recipe, exclude=(*recipe.exclude, *left))
        logits = bench.samples.held_out.logits(bench.subject.session(tried_recipe))
        tried[excluded] = loss = _loss(excluded, expected, logits, bench.samples.held_out)
        context.log(
            f"{excluded} of {len(ranking)} layers in fp32: {loss.flip_rate:.2%} of {len(expected)} rows changed, "
            f"{bench.samples.held_out.scoring.share} {-loss.accuracy_drop:+.2%}"
        )
        return loss.within(config)

    most = len(ranking) - 1
    enough = 0
    while not holds(enough) and enough < most:
        enough = min(most, max(1, 2 * enough))
    too_few = max((count for count in tried if not tried[count].within(config)), default=-1)
    while tried[enough].within(config) and enough - too_few > 1:
        middle = (enough + too_few) // 2
        enough, too_few = (middle, too_few) if holds(middle) else (enough, middle)
    within = [loss for loss in tried.values() if loss.within(config)]
    best = min(within, key=lambda loss: loss.excluded) if within else min(tried.values(), key=_badness)
    if not within:
        context.warn(
            f"no number of layers in fp32 keeps flips within {config.flip_rate:.2%} and the loss of accuracy within "
            f"{config.accuracy_drop:.2%}: kept the nearest, {best.flip_rate:.2%} and {best.accuracy_drop:.2%}"
        )
    return best, [tried[count] for count in sorted(tried)]


def _loss(excluded: int, expected: np.ndarray, logits: np.ndarray, sample: Sample) -> Loss:
    scoring, labels = sample.scoring, sample.labels
    drop = scoring.share_right(labels, expected) - scoring.share_right(labels, logits)
    changed = float(scoring.decoder.changed(expected, logits).mean())
    return Loss(excluded, changed, drop, scoring.divergence(expected, logits))


def _badness(loss: Loss) -> tuple[float, float]:
    return loss.flip_rate, loss.accuracy_drop


def _write(file: Path, known: Mapping[str, float]) -> None:
    """Whole or not at all: a kill leaves the file before."""
    beside = file.with_suffix(".part")
    beside.write_text(json.dumps(known))
    os.replace(beside, file)  # noqa: PTH105
