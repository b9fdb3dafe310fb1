"""`data:clean`: labelled files in; cleaned, de-duplicated, stratified splits and a report out.

Two passes. The first streams the sources into one Arrow file in the work folder, and keeps 30 bytes a row in memory:
digests, label, split. From these alone duplicates and splits are decided. The second maps that file into memory and
writes the splits. Rows are compared by 128-bit digests of their normalised texts.
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
from ftx_plugins.data.config import REPLACE, DataConfig
from ftx_plugins.data.duplicates import KEPT, resolve_duplicates
from ftx_plugins.data.lengths import TokenCounter
from ftx_plugins.data.opening import open_sources
from ftx_plugins.data.reading import Rows
from ftx_plugins.data.report import Lengths, make_metrics, make_report
from ftx_plugins.data.sources import SPLITS, Source
from ftx_plugins.data.splits import STRATUM, SplitWriter
from ftx_plugins.data.splitting import NOWHERE, TRAIN, assign_splits
from ftx_plugins.data.staging import Staged, stage_rows
from ftx_plugins.tasks.targets import Labels, Targets, reader_of

STAGED = "rows.arrow"


def run(config: DataConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Make the data set; returns the figures of its report.

    Of `inputs["model"]` the tokenizer is used, for lengths. Raises `FtxError` for files that cannot be read as asked,
    and for labels that cannot be learnt.
    """
    reader = reader_of(context.model.task, config)
    sources, rows = open_sources(config, context.warn, reader.form)
    staged = stage_rows(
        rows,
        context.work / STAGED,
        canonical=reader.canonical,
        has_pairs=bool(config.text_pair),
        progress=lambda done: context.progress(done, None, "rows", doing="reading"),
    )
    _require_rows(staged, config)
    resolution = resolve_duplicates(
        staged.near, staged.exact, staged.labels, len(SPLITS) - 1 - staged.splits.astype(np.int64)
    )
    kept = resolution.fates == KEPT
    given = staged.splits[kept]
    _require_given_splits(given, sources, config, context)

    targets = reader.learn(staged.names, staged.labels[kept], given, _declared(rows))
    splits = assign_splits(targets.strata, given, staged.near[kept, 0], config, context.seed)

    lengths = _write_splits(staged, kept, targets, splits, inputs["model"], context)
    metrics = make_metrics(staged, resolution, targets, splits, lengths)
    report = make_report(metrics, staged, resolution, sources)
    (context.out / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    _log(metrics, context)
    _warn(metrics, config, context)
    context.describe(
        labels=list(targets.names),
        task=context.model.task,
        columns=_columns(staged, targets),
        rows=metrics["splits"],
        **targets.facts(np.flatnonzero(splits == TRAIN)),
    )
    return metrics


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


def _declared(rows: Mapping[str, Rows]) -> tuple[str, ...]:
    """Label names in the order that the sources declare, the training rows' first."""
    return tuple(dict.fromkeys(name for each in rows.values() for name in each.label_names))


def _write_splits(
    staged: Staged, kept: np.ndarray, targets: Targets, splits: np.ndarray, model: Artifact, context: Context
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
        writers = [stack.enter_context(SplitWriter(context.out, split, columns, targets.type)) for split in SPLITS]
        for batch in staged.batches():
            span = slice(start, start + batch.num_rows)
            start += batch.num_rows
            written = batch.filter(pa.array(where[span] >= 0))
            places = place_of[span][where[span] >= 0]
            written = written.append_column("label", targets.column(places))
            if STRATUM in columns:
                written = written.append_column(STRATUM, pa.array(targets.strata[places]))
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
    if rows["duplicates_across_splits"]:
        context.warn(f"{rows['duplicates_across_splits']} rows were dropped that another split holds too")
    for split in ("validation", "test"):
        absent = [name for name, count in metrics["classes"][split].items() if not count]
        if absent:
            context.warn(f"the {split} split has no rows of {', '.join(absent[:5])}: these classes cannot be judged")


def _log(metrics: Mapping[str, Any], context: Context) -> None:
    rows, splits = metrics["rows"], metrics["splits"]
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
