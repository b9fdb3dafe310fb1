"""What all methods share: which rows they get, which of their proposals become rows, and what these are worth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from ftx.artifacts import MANIFEST, Artifact
from ftx.errors import FtxError
from ftx.step import Context
from ftx_plugins.augment.config import AugmentConfig
from ftx_plugins.augment.probe import measure_gain
from ftx_plugins.data.normalise import DIGEST_BYTES, digests, normalise
from ftx_plugins.data.sampling import ranks
from ftx_plugins.data.sources import SPLITS
from ftx_plugins.data.splits import BATCH, ORIGIN, of_source, split_path
from ftx_plugins.export.files import carry_over

REPORT = "augmentation.json"
EXAMPLES = 10

Proposal = str | None
Propose = Callable[[Sequence[str], Sequence[Random]], Iterable[Proposal]]
"""For each text, with a random generator of its own, a new text; or None where the method has nothing to offer."""


def extend(
    name: str, propose: Propose, config: AugmentConfig, inputs: Mapping[str, Artifact], context: Context
) -> dict[str, Any]:
    """Write the data set `inputs["data"]` with more training rows, made by the method `name`; returns the figures.

    New rows follow the old ones. Each has the label and the `row` of the one it was made from, and the method's name in
    the column `origin`, which is empty for rows of the source. Rows that an earlier step has added are not changed
    again. A text that is in any split already is not added: a new row must not be a validation row. Without new rows,
    or where they are not kept, the data set is the same to the byte.
    """
    data = inputs["data"]
    table = _read(data, "train")
    sources = _choose_sources(table, data, config, context)
    rows, texts, counts = _collect(name, propose, table, sources, config, data, context)
    added = _rows_of(table, rows, texts, name)
    gain = measure_gain(table, added, inputs["model"], data, config, context) if texts else None
    kept = bool(texts) and (config.keep == "always" or bool(gain and gain["verdict"] == "better"))
    metrics: dict[str, Any] = {
        "method": name,
        "rows_before": table.num_rows,
        "chosen_rows": len(sources),
        **counts,
        "kept": kept,
        "added": len(texts) if kept else 0,
        "gain": gain,
    }
    # A file that is carried over may be a link into the store: what is written anew must be none.
    rewritten = {MANIFEST, *((split_path(context.out, "train").name, REPORT) if kept else ())}
    carry_over(data.path, context.out, [file.name for file in data.path.iterdir() if file.name not in rewritten])
    if kept:
        both = pa.concat_tables([_with_origin(table), added])
        _write(both, split_path(context.out, "train"))
        _report(metrics, table, rows, texts, data.path / REPORT, context.out / REPORT)
        rows_by_split = {**data.meta.get("rows", {}), "train": both.num_rows}
        context.describe(**{**data.meta, "columns": both.column_names, "rows": rows_by_split})
    else:
        context.describe(**data.meta)
    _say(metrics, config, context)
    return metrics


def _read(data: Artifact, split: str) -> pa.Table:
    with pa.memory_map(str(split_path(data.path, split))) as source, pa.ipc.open_stream(source) as reader:
        return reader.read_all()


def _choose_sources(table: pa.Table, data: Artifact, config: AugmentConfig, context: Context) -> list[int]:
    """Places of the rows that new ones are made from: of the wanted labels, from the source, a share of them."""
    chosen = of_source(table)
    if config.labels:
        names = list(data.meta["labels"])
        unknown = [label for label in config.labels if label not in names]
        if unknown:
            raise FtxError(
                f"augment.labels names {', '.join(unknown)}, and the labels are {', '.join(names)}",
                "name some of these: --set 'augment.labels=[\"…\"]'",
            )
        wanted = {names.index(label) for label in config.labels}
        # A row of several labels is wanted for any of them.
        chosen &= np.array(
            [bool(wanted & set(label if isinstance(label, list) else [label])) for label in table["label"].to_pylist()]
        )
    places = np.flatnonzero(chosen)
    identities = table["row"].to_numpy()[places].astype(np.uint64)
    count = int(len(places) * config.share + 0.5)
    return sorted(places[np.argsort(ranks(identities, context.seed), kind="stable")[:count]].tolist())


def _collect(
    name: str,
    propose: Propose,
    table: pa.Table,
    sources: Sequence[int],
    config: AugmentConfig,
    data: Artifact,
    context: Context,
) -> tuple[list[int], list[str], dict[str, int]]:
    """Source places and new texts of the proposals that are new, and what became of the others."""
    column, pair_column = table["text"], table["text_pair"] if "text_pair" in table.column_names else None
    originals = [column[place].as_py() for place in sources]
    numbers = [table["row"][place].as_py() for place in sources]
    seen = _all_texts(data)
    rows: list[int] = []
    texts: list[str] = []
    counts = {"nothing_to_change": 0, "repeated": 0}
    total = len(sources) * config.copies
    for copy in range(config.copies):
        randoms = [Random(f"{context.seed} {name} {number} {copy}") for number in numbers]
        for done, (place, proposal) in enumerate(zip(sources, propose(originals, randoms), strict=True)):
            if done % 1000 == 0:
                context.progress(copy * len(sources) + done, total, "rows", doing=name)
            if proposal is None or not proposal.strip():
                counts["nothing_to_change"] += 1
                continue
            pair = None if pair_column is None else [pair_column[place].as_py()]
            [key] = _keys([proposal], pair)
            if key in seen:
                counts["repeated"] += 1
                continue
            seen.add(key)
            rows.append(place)
            texts.append(proposal)
    context.progress(total, total, "rows", doing=name)
    return rows, texts, counts


def _all_texts(data: Artifact) -> set[bytes]:
    """The keys of all texts of all splits."""
    found: set[bytes] = set()
    for split in SPLITS:
        for batch in _read(data, split).to_batches():
            pairs = batch.column("text_pair").to_pylist() if "text_pair" in batch.schema.names else None
            found.update(_keys(batch.column("text").to_pylist(), pairs))
    return found


def _keys(texts: Sequence[str], pairs: Sequence[str] | None) -> list[bytes]:
    """The digest of each text, normalised as `data:clean` does to find duplicates."""
    seconds = None if pairs is None else [normalise(pair) for pair in pairs]
    joined = digests([normalise(text) for text in texts], seconds)
    return [joined[start : start + DIGEST_BYTES] for start in range(0, len(joined), DIGEST_BYTES)]


def _with_origin(table: pa.Table) -> pa.Table:
    if ORIGIN in table.column_names:
        return table
    return table.append_column(ORIGIN, pa.array([""] * table.num_rows, pa.string()))


def _rows_of(table: pa.Table, rows: Sequence[int], texts: Sequence[str], name: str) -> pa.Table:
    """The new rows: copies of their source rows in all columns but the text and the origin."""
    made = _with_origin(table).take(pa.array(rows, pa.int64()))
    for column, values in (("text", texts), (ORIGIN, [name] * len(texts))):
        place = made.schema.get_field_index(column)
        made = made.set_column(place, made.schema.field(place), pa.array(values, pa.string()))
    return made


def _write(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        for start in range(0, table.num_rows, BATCH):
            for batch in table.slice(start, BATCH).combine_chunks().to_batches():
                writer.write_batch(batch)


def _report(
    metrics: Mapping[str, Any], table: pa.Table, rows: Sequence[int], texts: Sequence[str], old: Path, path: Path
) -> None:
    """`augmentation.json`: an entry for each step that has added rows, with examples; those of the source are in
    `old`."""
    before = json.loads(old.read_text(encoding="utf-8")) if old.is_file() else []
    examples = [
        {"row": table["row"][place].as_py(), "from": table["text"][place].as_py(), "to": text}
        for place, text in list(zip(rows, texts, strict=True))[:EXAMPLES]
    ]
    document = json.dumps([*before, {**metrics, "examples": examples}], indent=2, ensure_ascii=False)
    path.write_text(document + "\n", encoding="utf-8")


def _say(metrics: Mapping[str, Any], config: AugmentConfig, context: Context) -> None:
    gain = metrics["gain"]
    if gain is not None:
        low, high = gain["interval"]
        context.log(
            f"probe: validation accuracy {gain['without']:.4f} without the new rows, {gain['with']:.4f} with them "
            f"({gain['difference']:+.4f} [{low:+.4f}, {high:+.4f}]): {gain['verdict']}"
        )
    if metrics["added"]:
        context.log(f"{metrics['added']} training rows were added to {metrics['rows_before']} by {metrics['method']}")
    elif not metrics["chosen_rows"] or gain is None:
        context.warn(
            f"{metrics['method']} added no row: of {metrics['chosen_rows']} rows it found nothing to change in "
            f"{metrics['nothing_to_change']}, and {metrics['repeated']} results were there already"
        )
    else:
        context.warn(
            f"the new rows were left out (augment.keep = {config.keep!r}): the probe is {gain['verdict']} with them"
        )
