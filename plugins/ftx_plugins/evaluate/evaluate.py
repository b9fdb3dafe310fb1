"""The evaluate steps: a model, or each variant of a bundle, against the labels and against the reference.

Writes `evaluation.json` (what the step returns), `flips.jsonl` (rows whose label is not the reference's, the largest
change first) and `logits.npz` (`row`, `label`, and the logits of each candidate, in the data set's order of labels, by
variant: `torch` for a checkpoint, `reference` for the one beside it on the test split).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ftx import Artifact, Context, FtxError
from ftx.step import load_by_name
from ftx_plugins.data.splits import load_rows
from ftx_plugins.evaluate.candidates import Candidate, candidates_of
from ftx_plugins.evaluate.hooks import EvaluateConfig
from ftx_plugins.evaluate.timing import Timing, time_candidates
from ftx_serving.predictor import softmax

CHUNK = 256
"""Rows between two reports of progress."""


@dataclass(frozen=True)
class Rows:
    """The rows that are looked at, in a seeded random order: the first ones are a fair sample."""

    split: str
    names: tuple[str, ...]
    """Label names, in the data set's order."""
    texts: Sequence[str]
    pairs: Sequence[str] | None
    labels: np.ndarray
    row: np.ndarray
    """Each row's place in its source."""


def run_validation(config: EvaluateConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Measure `inputs["model"]` on the validation split."""
    return _evaluate("validation", config, inputs, context)


def run_test(config: EvaluateConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Measure `inputs["model"]`, and the reference beside it, on the test split."""
    return _evaluate("test", config, inputs, context)


def _evaluate(split: str, config: EvaluateConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    rows = _read_rows(split, config, inputs["data"], context.seed)
    reference = inputs.get("reference")
    is_reference = reference is not None and reference.digest == inputs["model"].digest
    candidates = candidates_of(inputs["model"], context)
    beside = reference if split == "test" and not is_reference else None
    if beside is not None:
        candidates = [*candidates_of(beside, context), *candidates]
    timings = _time(candidates, rows, config, context)
    logits = [_logits(candidate, rows, config, context) for candidate in candidates]
    just_computed = is_reference or beside is not None
    expected = logits[0] if just_computed else _reference_logits(rows, config, inputs, context)
    models = [
        _describe(candidate, values, timing, rows, expected, context)
        for candidate, values, timing in zip(candidates, logits, timings, strict=True)
    ]
    if beside is not None:
        models[0]["step"] = "reference"
    flips = [] if expected is None else _flips(candidates, logits, expected, rows)
    document = {"split": split, "rows": len(rows.texts), "is_reference": is_reference, "models": models}
    # A checkpoint beside the reference is in torch too: the two must not share a name.
    names = [model.get("step") or model["variant"] or "torch" for model in models]
    _write(context.out, document, flips, rows, dict(zip(names, logits, strict=True)))
    return document


def _read_rows(split: str, config: EvaluateConfig, data: Artifact, seed: int) -> Rows:
    found = load_rows(data, split, max_rows=config.max_rows or None, seed=seed)
    if not found.texts:
        raise FtxError(f"the {split} split is empty", f"give rows for it: data.{split}, or data.{split}_size")
    # A split is in the order of its source, which may be sorted: the timed rows are drawn from all of it.
    order = np.random.default_rng(seed).permutation(len(found.texts))
    return Rows(
        split,
        tuple(data.meta["labels"]),
        [found.texts[place] for place in order],
        [found.pairs[place] for place in order] if found.pairs is not None else None,
        found.labels[order],
        found.rows[order],
    )


def _logits(candidate: Candidate, rows: Rows, config: EvaluateConfig, context: Context) -> np.ndarray:
    """The candidate's logits as it would be served (alone, where neighbours matter), in the data set's label order."""
    batch_size = config.batch_size if candidate.batch_invariant else 1
    parts = []
    for start in range(0, len(rows.texts), CHUNK):
        chunk = slice(start, start + CHUNK)
        parts.append(candidate.logits(rows.texts[chunk], rows.pairs[chunk] if rows.pairs else None, batch_size))
        context.progress(
            min(start + CHUNK, len(rows.texts)), len(rows.texts), "rows", model=candidate.variant or "torch"
        )
    return np.concatenate(parts)[:, _label_order(candidate.labels, rows.names)]


def _label_order(labels: Sequence[str], names: Sequence[str]) -> list[int]:
    """For each of the data set's labels its place in the model's head."""
    if set(labels) != set(names):
        raise FtxError(
            f"the model's labels ({', '.join(labels)}) are not the data's ({', '.join(names)})",
            "evaluate on data with the model's labels, or train on this data: ftx run train",
        )
    return [list(labels).index(name) for name in names]


def _time(candidates: Sequence[Candidate], rows: Rows, config: EvaluateConfig, context: Context) -> list[Timing]:
    texts = rows.texts[: config.throughput_rows]
    pairs = rows.pairs[: config.throughput_rows] if rows.pairs else None
    return time_candidates(
        candidates,
        texts,
        pairs,
        latency_rows=config.latency_rows,
        batch_size=config.batch_size,
        progress=lambda done, total: context.progress(done, total, "texts", timing="batch 1"),
    )


def _reference_logits(
    rows: Rows, config: EvaluateConfig, inputs: Mapping[str, Artifact], context: Context
) -> np.ndarray | None:
    """The reference's logits on the same rows: kept by its own evaluation, or computed now."""
    baseline = inputs.get("baseline")
    if baseline is not None and baseline.manifest.metrics["split"] == rows.split:
        with np.load(baseline.path / "logits.npz", allow_pickle=False) as kept:
            if np.array_equal(kept["row"], rows.row):
                return np.asarray(kept["torch"])
    reference = inputs.get("reference")
    if reference is None:
        return None
    return _logits(candidates_of(reference, context)[0], rows, config, context)


def _describe(
    candidate: Candidate,
    logits: np.ndarray,
    timing: Timing,
    rows: Rows,
    expected: np.ndarray | None,
    context: Context,
) -> dict[str, Any]:
    """One entry of `models`: every figure of one candidate."""
    figures: dict[str, Any] = {"variant": candidate.variant, "quantized": candidate.quantized}
    for name, metric in context.plugins.metrics(context.model.task).items():
        origin = context.plugins.origin(metric)
        try:
            figures[name] = load_by_name(metric.compute)(rows.labels, logits, rows.names)
        except Exception as error:
            if origin.built_in:
                raise
            # What somebody else's metric cannot compute is no reason to lose the whole evaluation.
            context.warn(f"no {name}: the metric of the plugin {origin} failed: {type(error).__name__}: {error}")
    predicted = logits.argmax(axis=1)
    if expected is not None:
        flipped = predicted != expected.argmax(axis=1)
        figures |= {
            "flips": int(flipped.sum()),
            "flip_rate": float(flipped.mean()),
            "max_logit_difference": float(np.abs(logits - expected).max()),
        }
    order = np.asarray(_label_order(candidate.labels, rows.names))
    size = candidate.size_bytes
    return figures | {
        "p50_ms": timing.p50_ms,
        "p95_ms": timing.p95_ms,
        "rows_per_second": timing.rows_per_second,
        "size_mb": None if size is None else size / 1e6,
        "batch_flip_rate": _batch_flip_rate(candidate, predicted, timing, order),
    }


def _batch_flip_rate(candidate: Candidate, predicted: np.ndarray, timing: Timing, order: np.ndarray) -> float:
    """The share of rows whose label is another alone than in a batch.

    `predicted` was computed alone where the candidate is not batch-invariant; elsewhere the timed texts were.
    """
    if not candidate.batch_invariant:
        return float((order[predicted[: len(timing.batched)]] != timing.batched).mean())
    return float((timing.alone != timing.batched[: len(timing.alone)]).mean())


def _flips(
    candidates: Sequence[Candidate], logits: Sequence[np.ndarray], expected: np.ndarray, rows: Rows
) -> list[dict[str, Any]]:
    """Rows whose label changed, with the probability that moved away from the reference's label, largest first."""
    reference = expected.argmax(axis=1)
    before = softmax(expected)
    found = []
    for candidate, values in zip(candidates, logits, strict=True):
        after = softmax(values)
        predicted = values.argmax(axis=1)
        for place in np.flatnonzero(predicted != reference).tolist():
            was, now = int(reference[place]), int(predicted[place])
            flip = {
                "row": int(rows.row[place]),
                "text": rows.texts[place],
                "label": rows.names[int(rows.labels[place])],
                "reference": rows.names[was],
                "predicted": rows.names[now],
                "variant": candidate.variant,
                "change": float(before[place, was] - after[place, was]),
            }
            found.append(flip | ({"text_pair": rows.pairs[place]} if rows.pairs else {}))
    return sorted(found, key=lambda flip: -flip["change"])


def _write(
    out: Path,
    document: Mapping[str, Any],
    flips: Sequence[Mapping[str, Any]],
    rows: Rows,
    logits: Mapping[str, np.ndarray],
) -> None:
    (out / "evaluation.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    with (out / "flips.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(flip, ensure_ascii=False) + "\n" for flip in flips)
    arrays: dict[str, Any] = {"row": rows.row, "label": rows.labels, **logits}
    np.savez(out / "logits.npz", **arrays)
