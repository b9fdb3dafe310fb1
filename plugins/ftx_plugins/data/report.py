"""What the step found, as figures for the run and as `report.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftx_plugins.data import duplicates
from ftx_plugins.data.duplicates import Resolution
from ftx_plugins.data.lengths import count_longer, summarize
from ftx_plugins.data.sources import SPLITS, Source
from ftx_plugins.data.staging import Staged
from ftx_plugins.tasks.targets import Targets

EXAMPLES = 20
EXAMPLE_CHARACTERS = 300


@dataclass(frozen=True)
class Lengths:
    """Of each row written: tokens (special ones included) and characters, int of shape (rows,); the model's limit."""

    tokens: np.ndarray
    characters: np.ndarray
    limit: int


def count_rows(staged: Staged, resolution: Resolution, splits: np.ndarray) -> dict[str, int]:
    """Where the rows went. `read` is the sum of all others but `replaced_characters`, `conflicts` and `kept`'s parts.

    read = empty_text + missing_label + duplicates_exact + duplicates_near + duplicates_across_splits
         + conflicting_labels + leaked + excluded + beyond_cap + kept
    """
    found, fates = staged.found.values(), resolution.fates
    return {
        "read": sum(each.read for each in found),
        "empty_text": sum(each.empty_text for each in found),
        "missing_label": sum(each.missing_label for each in found),
        "duplicates_exact": int((fates == duplicates.EXACT).sum()),
        "duplicates_near": int((fates == duplicates.NEAR).sum()),
        "duplicates_across_splits": int((fates == duplicates.OVERLAP).sum()),
        "conflicting_labels": int((fates == duplicates.CONFLICT).sum()),
        "leaked": int((fates == duplicates.LEAKED).sum()),
        "excluded": int((fates == duplicates.EXCLUDED).sum()),
        "beyond_cap": int((splits == -1).sum()),
        "kept": int((splits >= 0).sum()),
    }


def make_metrics(
    staged: Staged,
    resolution: Resolution,
    targets: Targets,
    splits: np.ndarray,
    lengths: Lengths,
) -> dict[str, Any]:
    """The figures of the run. `targets` and `splits` run along the rows that were kept before any cap."""
    places = {split: np.flatnonzero(splits == place) for place, split in enumerate(SPLITS)}
    return {
        "rows": count_rows(staged, resolution, splits),
        "replaced_characters": sum(each.replaced for each in staged.found.values()),
        "conflicts": _conflict_counts(staged, resolution),
        "splits": {split: len(rows) for split, rows in places.items()},
        "classes": {split: targets.counts(rows) for split, rows in places.items()},
        **targets.facts(places["train"]),
        "tokens": {
            **summarize(lengths.tokens),
            "longer_than": count_longer(lengths.tokens, lengths.limit),
            "model_limit": lengths.limit,
            "longer_than_model_limit": int((lengths.tokens > lengths.limit).sum()),
            "rows_measured": len(lengths.tokens),
        },
        "characters": summarize(lengths.characters),
    }


def make_report(
    metrics: Mapping[str, Any], staged: Staged, resolution: Resolution, sources: Mapping[str, Source]
) -> dict[str, Any]:
    """`report.json`: the metrics, the sources, and examples of contradicting rows."""
    described = {
        split: {
            "source": source.name,
            "read": staged.found[split].read,
            "empty_text": staged.found[split].empty_text,
            "missing_label": staged.found[split].missing_label,
            "replaced_characters": staged.found[split].replaced,
        }
        for split, source in sources.items()
    }
    return {"schema": 1, **metrics, "sources": described, "conflict_examples": _examples(staged, resolution)}


def _conflict_counts(staged: Staged, resolution: Resolution) -> dict[str, int]:
    """Groups of rows with one text and several labels; their rows; how many groups no majority could settle."""
    groups = resolution.conflicts
    dropped = sum(not (resolution.fates[places] == duplicates.KEPT).any() for places in groups)
    across = sum(len(set(staged.splits[places].tolist())) > 1 for places in groups)
    return {
        "groups": len(groups),
        "rows": sum(len(places) for places in groups),
        "settled_by_majority": len(groups) - dropped,
        "dropped_groups": dropped,
        "groups_across_splits": across,
    }


def _examples(staged: Staged, resolution: Resolution) -> list[dict[str, Any]]:
    groups = resolution.conflicts[:EXAMPLES]
    texts = staged.texts_at([int(places[0]) for places in groups], EXAMPLE_CHARACTERS)
    return [
        {
            **texts[int(places[0])],
            "labels": staged.count_labels(places),
            "kept": _kept_label(staged, resolution, places),
        }
        for places in groups
    ]


def _kept_label(staged: Staged, resolution: Resolution, places: np.ndarray) -> str | None:
    kept = places[resolution.fates[places] == duplicates.KEPT]
    return staged.names[staged.labels[kept[0]]] if len(kept) else None
