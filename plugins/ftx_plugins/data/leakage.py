"""Near-duplicates among the rows that are kept: what they are, where they leak, and which rows go for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from ftx.step import Context
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.near_duplicates import Clusters, find_clusters
from ftx_plugins.data.normalise import normalise_rows
from ftx_plugins.data.sources import SPLITS
from ftx_plugins.data.splitting import TRAIN
from ftx_plugins.data.staging import Staged

EXAMPLES = 20
SHOWN = 5
TEXTS = 3
"""Texts of a cluster that are quoted."""
EXAMPLE_CHARACTERS = 300
SHOWN_CHARACTERS = 100


@dataclass(frozen=True)
class NearDuplicates:
    """The clusters of the kept rows, and which of them stand in several of the files that were given."""

    clusters: Clusters
    places: np.ndarray
    """int64, shape (rows,): where each row is among the staged ones."""
    leaks: Mapping[str, int]
    """`train~test` and so on -> rows of the first split with a near-duplicate in the second, as the files are."""
    leaked: np.ndarray
    """bool, shape (rows,): training rows with a near-duplicate in a given validation or test file."""


def look_for_near_duplicates(
    staged: Staged, kept: np.ndarray, config: DataConfig, context: Context
) -> NearDuplicates | None:
    """Clusters among the rows where `kept` (a bool for each staged row); None where the settings say not to look."""
    if config.near_duplicates == "off":
        return None
    rows = int(kept.sum())
    clusters = find_clusters(
        lambda: _normalised(staged, kept),
        rows,
        config.near_duplicate_similarity,
        context.work,
        lambda done: context.progress(done, rows, "rows", doing="looking for near-duplicates"),
    )
    given = staged.splits[kept]
    leaks = {
        f"{SPLITS[one]}~{SPLITS[other]}": int(_also_in(clusters, given, one, other).sum())
        for one, other in combinations(range(len(SPLITS)), 2)
        if (given == one).any() and (given == other).any()
    }
    leaked = np.zeros(rows, dtype=bool)
    for other in range(TRAIN + 1, len(SPLITS)):
        leaked |= _also_in(clusters, given, TRAIN, other)
    return NearDuplicates(clusters, np.flatnonzero(kept), leaks, leaked)


def near_duplicate_figures(
    near: NearDuplicates | None, staged: Staged, splits: np.ndarray, config: DataConfig, *, has_labels: bool = True
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The figures for the run, and the largest clusters for the report.

    `splits` is the split of each staged row, -1 for those that are in none. Without labels (`has_labels`), in a
    regression, texts that are nearly the same may well have different targets, and entities have other places in them:
    such clusters are not counted.
    """
    if near is None:
        return {"action": "off"}, []
    groups = [near.places[group] for group in near.clusters.groups()]
    written = [group[splits[group] >= 0] for group in groups]
    largest = _examples(staged, groups[:EXAMPLES], splits)
    figures = {
        "action": config.near_duplicates,
        "similarity": config.near_duplicate_similarity,
        "clusters": len(groups),
        "rows": sum(len(group) for group in groups),
        "clusters_with_several_labels": (
            sum(len(set(staged.labels[group].tolist())) > 1 for group in groups) if has_labels else None
        ),
        "clusters_in_several_splits": sum(len(set(splits[group].tolist())) > 1 for group in written),
        "rows_with_one_in_another_file": dict(near.leaks),
        "dropped": int(near.leaked.sum()) if config.drop_leaked else 0,
        "largest": [
            {"rows": each["rows"], "text": each["texts"][0]["text"][:SHOWN_CHARACTERS]} for each in largest[:SHOWN]
        ],
    }
    return figures, largest


def warn_about_leaks(figures: Mapping[str, Any], context: Context) -> None:
    """Say where the figures of a model would be too good, and what can be done."""
    if figures["action"] == "off":
        return
    train_leaks = {pair: rows for pair, rows in figures["rows_with_one_in_another_file"].items() if rows}
    for pair, rows in train_leaks.items():
        one, other = pair.split("~")
        if one == "train" and figures["dropped"]:
            context.warn(f"{rows} training rows are near-duplicates of {other} rows, and were dropped")
            continue
        advice = "; data.drop_leaked = true drops them" if one == "train" else ""
        context.warn(
            f"{rows} {one} rows are near-duplicates of rows of the {other} file: its figures will be too good{advice}"
        )
    if figures["action"] == "report" and figures["clusters_in_several_splits"]:
        context.warn(
            f"{figures['clusters_in_several_splits']} clusters of near-duplicates straddle splits: figures will be too "
            'good; data.near_duplicates = "cluster" keeps each in one split'
        )


def _normalised(staged: Staged, kept: np.ndarray) -> Iterator[Sequence[str]]:
    start = 0
    for batch in staged.batches():
        wanted = batch.filter(pa.array(kept[start : start + batch.num_rows]))
        start += batch.num_rows
        pairs = wanted.column("text_pair").to_pylist() if staged.has_pairs else None
        yield normalise_rows(wanted.column("text").to_pylist(), pairs)


def _also_in(clusters: Clusters, given: np.ndarray, one: int, other: int) -> np.ndarray:
    """Rows of the split `one` whose cluster has a row of the split `other`."""
    there = np.zeros(len(given), dtype=bool)
    there[clusters.of_row[given == other]] = True
    found: np.ndarray = (given == one) & there[clusters.of_row]
    return found


def _examples(staged: Staged, groups: Sequence[np.ndarray], splits: np.ndarray) -> list[dict[str, Any]]:
    texts = staged.texts_at([int(place) for group in groups for place in group[:TEXTS]], EXAMPLE_CHARACTERS)
    return [
        {
            "rows": len(group),
            "labels": staged.count_labels(group),
            "splits": {
                name: int((splits[group] == place).sum())
                for place, name in enumerate(SPLITS)
                if (splits[group] == place).any()
            },
            "texts": [texts[int(place)] for place in group[:TEXTS]],
        }
        for group in groups
    ]
