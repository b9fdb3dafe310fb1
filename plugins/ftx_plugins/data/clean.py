"""`data:clean`: labelled files in; cleaned, de-duplicated, stratified splits and a report out.

Two passes. The first streams the sources into one Arrow file in the work folder, and keeps 38 bytes a row in memory:
digests, label, split, place in its source. From these alone duplicates and splits are decided. The second maps that
file into memory and writes the splits. Rows are compared by 128-bit digests of their normalised texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx.step import Context
from ftx.tasks import REGRESSION, TOKEN_CLASSIFICATION
from ftx_plugins.data.config import REPLACE, DataConfig
from ftx_plugins.data.conflicts import write_conflicts
from ftx_plugins.data.duplicates import KEPT, LEAKED, resolve_others
from ftx_plugins.data.exclusion import find_excluded
from ftx_plugins.data.folds import NO_FOLD, assign_folds
from ftx_plugins.data.leakage import (
    NearDuplicates,
    look_for_near_duplicates,
    near_duplicate_figures,
    warn_about_leaks,
)
from ftx_plugins.data.lengths import TokenCounter
from ftx_plugins.data.opening import open_sources
from ftx_plugins.data.reading import Rows
from ftx_plugins.data.report import Lengths, make_metrics, make_report
from ftx_plugins.data.sources import SPLITS, Source
from ftx_plugins.data.splits import FOLD, STRATUM, SplitWriter
from ftx_plugins.data.splitting import NOWHERE, TRAIN, assign_splits, rows_of_share
from ftx_plugins.data.staging import Staged, stage_rows
from ftx_plugins.tasks.readers import reader_of
from ftx_plugins.tasks.targets import Labels, Targets

STAGED = "rows.arrow"
SMALLER = 0.9
"""A split of less than this share of the rows asked for is worth a warning."""


def run(config: DataConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Make the data set; returns the figures of its report.

    Of `inputs["model"]` the tokenizer is used, for lengths. Raises `FtxError` for files that cannot be read as asked,
    and for labels that cannot be learnt.
    """
    config = config.for_task(context.model.task)
    reader = reader_of(context.model.task, config)
    sources, rows = open_sources(config, context.warn, reader.form)
    staged = stage_rows(
        rows,
        context.work / STAGED,
        targets=reader.targets,
        has_pairs=bool(config.text_pair),
        progress=lambda done: context.progress(done, None, "rows", doing="reading"),
    )
    _require_rows(staged, config)
    resolution = resolve_others(
        find_excluded(config.exclude, staged),
        staged.near,
        staged.exact,
        reader.comparable(staged),
        len(SPLITS) - 1 - staged.splits.astype(np.int64),
    )
    near = look_for_near_duplicates(staged, resolution.fates == KEPT, config, context)
    if near is not None and config.drop_leaked:
        resolution.fates[near.places[near.leaked]] = LEAKED
    kept = resolution.fates == KEPT
    given = staged.splits[kept]
    _require_given_splits(given, sources, config, context)

    targets = reader.learn(staged.names, staged.labels[kept], given, _declared(rows))
    clusters = _clusters(near, kept, config)
    splits = assign_splits(targets.strata, given, staged.near[kept, 0], config, context.seed, clusters)
    folds = _folds(targets, splits, staged.near[kept, 0], clusters, config, context)

    lengths = _write_splits(staged, kept, targets, splits, folds, inputs["model"], context)
    metrics = make_metrics(staged, resolution, targets, splits, lengths)
    placed = np.full(len(kept), NOWHERE, dtype=np.int8)
    placed[kept] = splits
    metrics["near_duplicates"], shown = near_duplicate_figures(
        near, staged, placed, config, has_labels=context.model.task not in (REGRESSION, TOKEN_CLASSIFICATION)
    )
    report = make_report(metrics, staged, resolution, sources) | {
        "row_sources": {split: split if (given == place).any() else "train" for place, split in enumerate(SPLITS)},
        "near_duplicate_clusters": shown,
    }
    write_conflicts(context.out, staged, resolution)
    (context.out / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    _log(metrics, context)
    _warn(metrics, config, context)
    warn_about_leaks(metrics["near_duplicates"], context)
    if clusters is not None:
        _warn_about_shares(metrics["splits"], given, config, context)
    context.describe(
        labels=list(targets.names),
        task=context.model.task,
        columns=_columns(staged, targets),
        rows=metrics["splits"],
        **targets.facts(np.flatnonzero(splits == TRAIN)),
        **({} if folds is None else {"folds": config.folds}),
    )
    return metrics


def _folds(
    targets: Targets,
    splits: np.ndarray,
    identities: np.ndarray,
    clusters: np.ndarray | None,
    config: DataConfig,
    context: Context,
) -> np.ndarray | None:
    """The fold of each row of the training split, and `NO_FOLD` for all others; None without folds."""
    if not config.folds:
        return None
    trained = splits == TRAIN
    folds = np.full(len(splits), NO_FOLD, dtype=np.int64)
    together = None if clusters is None else clusters[trained]
    strata, seed = targets.strata[trained], context.seed + 3
    folds[trained] = assign_folds(strata, identities[trained], config.folds, targets.names, seed, together)
    context.log(f"the {int(trained.sum())} training rows are in {config.folds} folds")
    return folds


def _require_rows(staged: Staged, config: DataConfig) -> None:
    found = staged.found["train"]
    if not found.read:
        raise FtxError("data.train holds no rows", "give a file with rows: data.train")
    usable = found.read - found.empty_text - found.missing_label
    if not usable:
        raise FtxError(
            f"none of the {found.read} training rows is usable: {found.empty_text} without text, "
            f"{found.missing_label} without label",
            f"are {config.text!r} and {config.label!r} the right columns? set data.text and data.label",
        )


def _require_given_splits(
    given: np.ndarray, sources: Mapping[str, Source], config: DataConfig, context: Context
) -> None:
    """Each split that has a source keeps rows; one that was merely found is split off instead."""
    for place, split in enumerate(SPLITS):
        if split not in sources or (given == place).any():
            continue
        if split == "train" or getattr(config, split):
            raise FtxError(
                f"no {split} row is left: all are empty, without label, contradictory, or in another split too",
                f"look at the rows of {sources[split].name}: data.{split}",
            )
        context.warn(f"{sources[split].name} has no usable rows: the {split} split is split off the training rows")


def _clusters(near: NearDuplicates | None, kept: np.ndarray, config: DataConfig) -> np.ndarray | None:
    """The cluster of each kept row, where clusters are to stay whole."""
    if near is None or config.near_duplicates != "cluster":
        return None
    of_row: np.ndarray = near.clusters.of_row[kept[near.places]]
    return of_row


def _declared(rows: Mapping[str, Rows]) -> tuple[str, ...]:
    """Label names in the order that the sources declare, the training rows' first."""
    return tuple(dict.fromkeys(name for each in rows.values() for name in each.label_names))


def _write_splits(
    staged: Staged,
    kept: np.ndarray,
    targets: Targets,
    splits: np.ndarray,
    folds: np.ndarray | None,
    model: Artifact,
    context: Context,
) -> Lengths:
    """The second pass: write the splits in source order, and measure the rows written."""
    counter = TokenCounter(model.path, trust_remote_code=context.model.trust_remote_code)
    where = np.full(len(kept), NOWHERE, dtype=np.int8)
    where[kept] = splits
    place_of = np.cumsum(kept) - 1
    total, start = int((where >= 0).sum()), 0
    tokens, characters, done = [], [], 0
    with ExitStack() as stack:
        columns = _columns(staged, targets)
        with_fold = {"train": [*columns, *([FOLD] if folds is not None else [])]}
        writers = [
            stack.enter_context(SplitWriter(context.out, split, with_fold.get(split, columns), targets.type))
            for split in SPLITS
        ]
        for batch in staged.batches():
            span = slice(start, start + batch.num_rows)
            start += batch.num_rows
            written = batch.filter(pa.array(where[span] >= 0))
            places = place_of[span][where[span] >= 0]
            written = written.append_column("label", targets.column(places))
            if STRATUM in columns:
                written = written.append_column(STRATUM, pa.array(targets.strata[places]))
            if folds is not None:
                written = written.append_column(FOLD, pa.array(folds[places]))
            for place, writer in enumerate(writers):
                writer.write(written.filter(pa.array(splits[places] == place)))
            tokens.append(_count_tokens(counter, written))
            characters.append(_count_characters(written))
            done += written.num_rows
            context.progress(done, total, "rows", doing="writing and measuring")
    return Lengths(np.concatenate(tokens), np.concatenate(characters), counter.limit)


def _columns(staged: Staged, targets: Targets) -> list[str]:
    # Where a label is one number, rows are stratified by it.
    stratum = [] if isinstance(targets, Labels) else [STRATUM]
    return ["text", *(["text_pair"] if staged.has_pairs else []), "label", "row", *stratum]


def _count_tokens(counter: TokenCounter, batch: pa.RecordBatch) -> np.ndarray:
    pairs = batch.column("text_pair").to_pylist() if "text_pair" in batch.schema.names else None
    return counter.count(batch.column("text").to_pylist(), pairs)


def _count_characters(batch: pa.RecordBatch) -> np.ndarray:
    texts = [batch.column(name) for name in batch.schema.names if name in ("text", "text_pair")]
    total: np.ndarray = np.stack([pc.utf8_length(text).to_numpy() for text in texts]).sum(axis=0, dtype=np.int64)
    return total


def _warn(metrics: Mapping[str, Any], config: DataConfig, context: Context) -> None:
    """Say what was dropped or changed, and what it may mean."""
    rows, conflicts = metrics["rows"], metrics["conflicts"]
    if rows["empty_text"]:
        context.warn(f"{rows['empty_text']} rows without text were dropped")
    if rows["missing_label"]:
        context.warn(f"{rows['missing_label']} rows without label were dropped")
    if metrics["replaced_characters"]:
        by_us = config.encoding == REPLACE
        reason = "bytes that are not utf-8 became U+FFFD" if by_us else "an earlier tool wrote U+FFFD for lost text"
        context.warn(f"{metrics['replaced_characters']} rows have replaced characters: {reason}")
    if conflicts["groups"]:
        context.warn(
            f"{conflicts['groups']} texts have several labels ({rows['conflicting_labels']} rows dropped); "
            "examples are in report.json"
        )
    if rows["excluded"]:
        context.warn(
            f"{rows['excluded']} rows were left out that data.exclude marks (duplicates of marked rows included)"
        )
    if rows["duplicates_across_splits"]:
        context.warn(f"{rows['duplicates_across_splits']} rows were dropped that another split holds too")
    for split in ("validation", "test"):
        absent = [name for name, count in metrics["classes"][split].items() if not count]
        if absent:
            context.warn(f"the {split} split has no rows of {', '.join(absent[:5])}: these classes cannot be judged")


def _warn_about_shares(rows: Mapping[str, int], given: np.ndarray, config: DataConfig, context: Context) -> None:
    """Say where whole clusters kept a split from the size that was asked for (a row a class is rounding)."""
    left = int((given == TRAIN).sum())
    shares = (
        ("test", config.test_size, config.max_test_rows),
        ("validation", config.validation_size, config.max_validation_rows),
    )
    for split, share, cap in shares:
        if (given == SPLITS.index(split)).any():
            continue
        asked = rows_of_share(left, share)
        asked = min(asked, cap) if cap else asked
        if rows[split] < SMALLER * asked:
            context.warn(
                f"the {split} split has {rows[split]} rows for {asked} asked: clusters of near-duplicates stay whole; "
                'data.near_duplicates = "report" splits them'
            )
        left -= rows_of_share(left, share)


def _log(metrics: Mapping[str, Any], context: Context) -> None:
    rows, splits = metrics["rows"], metrics["splits"]
    near = metrics["near_duplicates"]
    if near.get("clusters"):
        several = near["clusters_with_several_labels"]
        contradicting = "" if several is None else f" ({several} of them with several labels)"
        context.log(f"{near['rows']} rows are near-duplicates of others, in {near['clusters']} clusters{contradicting}")
    duplicates = rows["duplicates_exact"] + rows["duplicates_near"]
    context.log(
        f"{rows['read']} rows read, {rows['kept']} kept ({duplicates} duplicates dropped): "
        + ", ".join(f"{split} {count}" for split, count in splits.items())
    )
    tokens = metrics["tokens"]
    context.log(
        f"tokens a row: median {tokens['p50']}, 99% up to {tokens['p99']}, at most {tokens['max']}; "
        f"{tokens['longer_than_model_limit']} rows exceed the model's {tokens['model_limit']}"
    )
