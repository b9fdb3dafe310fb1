"""The evaluate steps: a model, or each variant of a bundle, against the labels and against the reference.

Writes `evaluation.json` (what the step returns), `flips.csv` (rows whose label is not the reference's),
`negative_flips.csv` (those that it has right) and `logits.npz` (`row`, `label`, and the logits of each candidate, in
the data set's order of labels, by variant: `torch` for a checkpoint, `reference` for the one beside it on the test
split).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ftx import Artifact, Context, FtxError
from ftx.scoreboard import model_name
from ftx.tasks import TOKEN_CLASSIFICATION
from ftx_plugins.evaluate.bootstrap import CONFIDENCE, RESAMPLES, Resampling
from ftx_plugins.evaluate.candidates import Candidate, candidates_of
from ftx_plugins.evaluate.describe import Reference, describe
from ftx_plugins.evaluate.flips import find_flips, write_flips
from ftx_plugins.evaluate.hooks import EvaluateConfig
from ftx_plugins.evaluate.invariance import Invariance, measure_invariance
from ftx_plugins.evaluate.rows import Rows, read_rows
from ftx_plugins.evaluate.slices import length_slices
from ftx_plugins.evaluate.timing import Timing, time_candidates
from ftx_plugins.labels import label_places
from ftx_plugins.tasks.scoring import Scoring, scoring_of
from ftx_serving.decoding import MultiLabel
from ftx_serving.words import join_rows

CHUNK = 256
"""Rows between two reports of progress."""
OTHER_LABELS = "evaluate on data with the model's labels, or train on this data: ftx run train"


@dataclass(frozen=True)
class Subject:
    """A candidate, and what was measured on it."""

    candidate: Candidate
    logits: np.ndarray
    """float32 of shape (rows, classes), in the data set's order of labels."""
    timing: Timing
    invariance: Invariance | None


def run_validation(config: EvaluateConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Measure `inputs["model"]` on the validation split."""
    return _evaluate("validation", config, inputs, context)


def run_test(config: EvaluateConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Measure `inputs["model"]`, and the reference beside it, on the test split."""
    return _evaluate("test", config, inputs, context)


def _evaluate(split: str, config: EvaluateConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    rows = read_rows(split, inputs["data"], config.max_rows, context.seed)
    reference = inputs.get("reference")
    is_reference = reference is not None and reference.digest == inputs["model"].digest
    data = inputs["data"]
    tolerance = data.meta.get("tolerance")
    candidates = candidates_of(inputs["model"], context, tolerance)
    beside = reference if split == "test" and not is_reference else None
    if beside is not None:
        candidates = [*candidates_of(beside, context, tolerance), *candidates]
    _check_task(candidates, context.model.task)
    if context.model.task == TOKEN_CLASSIFICATION:
        # All that came of one encoder see the same words.
        rows = rows.aligned(candidates[0].model.words(rows.texts))
    subjects = _measure(candidates, rows, config, context)
    just_computed = is_reference or beside is not None
    expected = subjects[0].logits if just_computed else _reference_logits(rows, config, inputs, context)
    scorings = [_scoring(subject.candidate, rows, tolerance) for subject in subjects]
    models = _describe(subjects, scorings, expected, rows, context)
    if beside is not None:
        models[0]["step"] = "reference"
    document = {
        "task": context.model.task,
        "split": split,
        "rows": len(rows.texts),
        "labels": list(rows.names),
        "is_reference": is_reference,
        **({} if tolerance is None else {"tolerance": tolerance}),
        "bootstrap": {"confidence": CONFIDENCE, "resamples": RESAMPLES},
        "models": models,
    }
    # A checkpoint beside the reference is in torch too: the two must not share a name.
    names = [model_name(model) for model in models]
    _write(context.out, document, dict(zip(names, subjects, strict=True)), scorings, expected, rows)
    return document


def _check_task(candidates: Sequence[Candidate], task: str) -> None:
    if others := [candidate for candidate in candidates if candidate.task != task]:
        raise FtxError(
            f"the model is for {others[0].task}, and model.task is {task}",
            f"evaluate it as what it is: --set model.task={others[0].task}",
        )


def _scoring(candidate: Candidate, rows: Rows, tolerance: float | None) -> Scoring:
    """How the candidate is scored: thresholds belong to its own labels, and scores are in the data set's order."""
    thresholds = dict(zip(candidate.labels, candidate.thresholds, strict=False))
    in_order = [thresholds[name] for name in rows.names] if thresholds else []
    return scoring_of(candidate.task, rows.names, thresholds=in_order, tolerance=tolerance, words=rows.words)


def _measure(candidates: Sequence[Candidate], rows: Rows, config: EvaluateConfig, context: Context) -> list[Subject]:
    timings = _time(candidates, rows, config, context)
    return [
        Subject(
            candidate,
            _logits(candidate, rows, config, context),
            timing,
            _measure_invariance(candidate, rows, config, context),
        )
        for candidate, timing in zip(candidates, timings, strict=True)
    ]


def _logits(candidate: Candidate, rows: Rows, config: EvaluateConfig, context: Context) -> np.ndarray:
    """The candidate's logits as it would be served (alone, where neighbours matter), in the data set's label order."""
    batch_size = config.batch_size if candidate.batch_invariant else 1
    parts = []
    for start in range(0, len(rows.texts), CHUNK):
        chunk = slice(start, start + CHUNK)
        parts.append(candidate.model.logits(rows.texts[chunk], rows.pairs[chunk] if rows.pairs else None, batch_size))
        context.progress(min(start + CHUNK, len(rows.texts)), len(rows.texts), "rows", model=candidate.name)
    logits = rows.fitted(join_rows(parts))
    return logits[..., label_places(rows.names, candidate.labels, OTHER_LABELS)]


def _time(candidates: Sequence[Candidate], rows: Rows, config: EvaluateConfig, context: Context) -> list[Timing]:
    texts, pairs = rows.first(config.throughput_rows)
    return time_candidates(
        candidates,
        texts,
        pairs,
        latency_rows=config.latency_rows,
        batch_size=config.batch_size,
        progress=lambda done, total: context.progress(done, total, "texts", timing="batch 1"),
    )


def _measure_invariance(
    candidate: Candidate, rows: Rows, config: EvaluateConfig, context: Context
) -> Invariance | None:
    if not config.invariance_rows:
        return None
    texts, pairs = rows.first(config.invariance_rows)
    context.progress(0, len(texts), "texts", model=candidate.name, trying="batches")
    found = measure_invariance(candidate, texts, pairs, batch_size=config.batch_size, seed=context.seed)
    if found.dependent and candidate.batch_invariant:
        context.warn(
            f"{candidate.name}: {found.dependent} of {found.rows} texts get another label in another batch or padding, "
            "although this model is meant not to depend on them"
        )
    return found


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
    subjects: Sequence[Subject],
    scorings: Sequence[Scoring],
    expected: np.ndarray | None,
    rows: Rows,
    context: Context,
) -> list[dict[str, Any]]:
    """The entries of `models`: every figure of each candidate."""
    resampling = Resampling(len(rows.texts), context.seed)
    # The reference is what they all descend from, its thresholds included.
    reference = None if expected is None else Reference.of(expected, rows, scorings[0], resampling, context)
    classes = scorings[0].classes(rows.labels)
    # Slices are the same for all variants: by the tokens that the first of them sees.
    lengths = length_slices(subjects[0].candidate.model.lengths(rows.texts, rows.pairs))
    kinds = {"classes": classes, "lengths": lengths}
    return [
        describe(subject.candidate, subject.logits, rows, scoring, reference, kinds, resampling, context)
        | _describe_decoding(scoring)
        | _describe_use(subject)
        for subject, scoring in zip(subjects, scorings, strict=True)
    ]


def _describe_decoding(scoring: Scoring) -> dict[str, Any]:
    """What else turns logits into labels."""
    decoder = scoring.decoder
    return {"thresholds": list(decoder.thresholds)} if isinstance(decoder, MultiLabel) and decoder.thresholds else {}


def _describe_use(subject: Subject) -> dict[str, Any]:
    """What is not quality: speed, size, and dependence on the batch."""
    timing, invariance, size = subject.timing, subject.invariance, subject.candidate.size_bytes
    tried = {} if invariance is None else {"invariance": invariance.to_dict()}
    return {
        "p50_ms": timing.p50_ms,
        "p95_ms": timing.p95_ms,
        "rows_per_second": timing.rows_per_second,
        "size_mb": None if size is None else size / 1e6,
        "batch_invariant": subject.candidate.batch_invariant and (invariance is None or not invariance.dependent),
        "batch_flip_rate": None if invariance is None else invariance.batch_flip_rate,
        **tried,
    }


def _write(
    out: Path,
    document: Mapping[str, Any],
    subjects: Mapping[str, Subject],
    scorings: Sequence[Scoring],
    expected: np.ndarray | None,
    rows: Rows,
) -> None:
    (out / "evaluation.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    flips = [
        flip
        for subject, scoring in zip(subjects.values(), scorings, strict=True)
        if expected is not None
        for flip in find_flips(subject.candidate.variant, subject.logits, expected, rows, scoring)
    ]
    write_flips(out, flips, pairs=rows.pairs is not None)
    logits: dict[str, Any] = {name: subject.logits for name, subject in subjects.items()}
    np.savez(out / "logits.npz", row=rows.row, label=rows.labels, **logits)
