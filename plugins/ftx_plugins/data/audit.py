"""`ftx data audit`: rows whose label may be wrong, for a human to look at. Nothing is changed.

Likely errors by confident learning (Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset
Labels", 2021; the package cleanlab) on probabilities that a row's own label had no part in: either out of folds, from a
logistic regression on the vectors of the frozen encoder, with near-duplicates in one fold; or, for rows that trained
nothing, from a checkpoint. A checkpoint is of no use for its own training rows: it has learnt their labels, the wrong
ones too.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from scipy.special import softmax
from sklearn.model_selection import StratifiedGroupKFold

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx.tasks import TEXT_CLASSIFICATION
from ftx_plugins.checkpoint import compute_logits, load_checkpoint
from ftx_plugins.data.conflicts import read_conflicts
from ftx_plugins.data.csv_table import write_table
from ftx_plugins.data.near_duplicates import Clusters, cluster_texts
from ftx_plugins.data.normalise import normalise_rows
from ftx_plugins.data.splits import SplitRows, load_rows
from ftx_plugins.embedding import Embedder, probe_probabilities

LABEL, DUPLICATE, NEAR = "label", "conflicting duplicate", "near-duplicate with another label"
SIMILARITY = 0.8
"""Where the data set did not look for near-duplicates itself."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Entry:
    """A row to look at, as a line of the csv. Empty strings and None where a column says nothing about it."""

    exclude: str
    """For the user: anything but nothing, 0, no and false leaves the row out (`data.exclude`)."""
    source: str
    """The split whose file the row is in: `train`, where a split was drawn from the training rows."""
    row: int
    """The row's place in that source, from 0, the header not counted."""
    split: str
    reasons: str
    given: str
    suggested: str
    confidence: float | None
    """The probability of the suggested label."""
    self_confidence: float | None
    """The probability of the given label: the smallest come first."""
    group: str
    """Equal for rows with the same text (`d1`) or nearly the same (`n1`)."""
    text: str
    text_pair: str


@dataclass(frozen=True)
class Audit:
    """The rows to look at, the likeliest errors first, and what the probabilities are worth."""

    entries: list[Entry]
    rows: int
    likely_errors: int
    conflicting_groups: int
    conflicting_clusters: int
    accuracy: float
    """How often the likeliest label is the given one."""
    probabilities: str
    """Where they come from, in words."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Rows:
    """Rows of several splits, end to end."""

    texts: list[str]
    pairs: list[str] | None
    labels: np.ndarray
    rows: np.ndarray
    splits: list[str]

    @classmethod
    def read(cls, data: Artifact, splits: Sequence[str]) -> _Rows:
        parts: dict[str, SplitRows] = {split: load_rows(data, split) for split in splits}
        pairs = [pair for part in parts.values() for pair in part.pairs or ()]
        return cls(
            [text for part in parts.values() for text in part.texts],
            pairs or None,
            np.concatenate([part.labels for part in parts.values()]),
            np.concatenate([part.rows for part in parts.values()]),
            [split for split, part in parts.items() for _ in part.texts],
        )


def audit(
    data: Artifact,
    model: Path,
    *,
    splits: Sequence[str],
    folds: int,
    seed: int,
    checkpoint: Path | None = None,
    trust_remote_code: bool = False,
    progress: Progress = lambda done, total: None,
) -> Audit:
    """Audit the rows of `splits`, with the encoder in `model`; or with a `checkpoint` that none of them trained.

    Raises `FtxError` for a data set whose rows have no single label, or too few of one.
    """
    if (task := data.meta.get("task", TEXT_CLASSIFICATION)) != TEXT_CLASSIFICATION:
        raise FtxError(
            f"an audit is for {TEXT_CLASSIFICATION}, and the data set is for {task}",
            "see what data found in the rows: ftx show latest:data",
        )
    rows = _Rows.read(data, splits)
    names = tuple(data.meta["labels"])
    report = json.loads((data.path / "report.json").read_text(encoding="utf-8"))
    similarity = report["near_duplicates"].get("similarity", SIMILARITY)
    with tempfile.TemporaryDirectory(prefix="ftx-audit-") as work:
        clusters = cluster_texts(normalise_rows(rows.texts, rows.pairs), similarity, Path(work))
    if checkpoint is None:
        _require_rows(rows.labels, names, folds)
        vectors = Embedder(model, trust_remote_code=trust_remote_code).embed(rows.texts, rows.pairs, progress)
        probabilities = out_of_fold(vectors, rows.labels, clusters.of_row, len(names), folds, seed)
        origin = f"{folds} folds, logistic regression on the frozen encoder's vectors"
    else:
        probabilities = _of_checkpoint(checkpoint, rows, names, trust_remote_code, progress)
        origin = "the checkpoint, which these rows did not train"
    issues = find_label_issues(
        rows.labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1, verbose=False
    )
    groups = _contradicting(clusters, rows.labels)
    duplicates = read_conflicts(data.path)
    entries = _entries(rows, names, probabilities, issues, groups, duplicates, report["row_sources"])
    return Audit(
        entries,
        len(rows.texts),
        len(issues),
        len({each["group"] for each in duplicates}),
        len(groups),
        float((probabilities.argmax(axis=1) == rows.labels).mean()),
        origin,
    )


def out_of_fold(
    vectors: np.ndarray, labels: np.ndarray, clusters: np.ndarray, classes: int, folds: int, seed: int
) -> np.ndarray:
    """For each row the labels' probabilities from rows of other folds; float64 of shape (rows, classes).

    The rows of a cluster (equal numbers) share a fold: a copy would give its label away.
    """
    found = np.zeros((len(labels), classes))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for rest, fold in splitter.split(vectors, labels, clusters):
        found[fold] = probe_probabilities(vectors[rest], labels[rest], vectors[fold], classes)
    return found


def write_csv(entries: Iterable[Entry], path: Path) -> None:
    """Write the entries as a csv; `FtxError` where the file is there already: the user may have marked rows in it."""
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            write_table(file, [[field.name for field in fields(Entry)], *(astuple(entry) for entry in entries)])
    except FileExistsError:
        raise FtxError(
            f"{path} is there already, and rows may be marked in it", "name another file, or remove it: --out FILE"
        ) from None


def _require_rows(labels: np.ndarray, names: Sequence[str], folds: int) -> None:
    counts = np.bincount(labels, minlength=len(names))
    rare = {name: int(count) for name, count in zip(names, counts, strict=True) if 0 < count < folds}
    if rare:
        shown = ", ".join(f"{name!r} has {count}" for name, count in list(rare.items())[:5])
        raise FtxError(
            f"{folds} folds need {folds} rows of each label: {shown}",
            f"take fewer: --folds {max(2, min(rare.values()))}, or more splits: --split train --split validation",
        )


def _of_checkpoint(
    folder: Path, rows: _Rows, names: Sequence[str], trust_remote_code: bool, progress: Progress
) -> np.ndarray:
    loaded = load_checkpoint(folder, trust_remote_code=trust_remote_code)
    if set(loaded.labels) != set(names):
        raise FtxError(
            f"the checkpoint has the labels {', '.join(loaded.labels)}, the data {', '.join(names)}",
            "name a checkpoint of this data: --checkpoint latest:train",
        )
    logits = compute_logits(loaded, rows.texts, rows.pairs, progress=progress)
    order = [loaded.labels.index(name) for name in names]
    probabilities: np.ndarray = softmax(logits.astype(np.float64), axis=1)[:, order]
    return probabilities


def _contradicting(clusters: Clusters, labels: np.ndarray) -> list[np.ndarray]:
    return [group for group in clusters.groups() if len(set(labels[group].tolist())) > 1]


def _entries(
    rows: _Rows,
    names: Sequence[str],
    probabilities: np.ndarray,
    issues: np.ndarray,
    groups: Sequence[np.ndarray],
    duplicates: Sequence[Mapping[str, Any]],
    sources: Mapping[str, str],
) -> list[Entry]:
    """Likely errors first, by the given label's probability, then what else contradicts itself."""
    quality = get_label_quality_scores(rows.labels, probabilities, method="self_confidence")
    likely = set(issues.tolist())
    near = {int(row): f"n{number + 1}" for number, group in enumerate(groups) for row in group}
    conflicting = {(each["source"], each["row"]): each for each in duplicates}
    at = {
        (sources[split], int(row)): place for place, (split, row) in enumerate(zip(rows.splits, rows.rows, strict=True))
    }
    others = [row for group in groups for row in group.tolist() if row not in likely]
    others += [at[key] for key in conflicting if key in at and at[key] not in likely and at[key] not in near]
    found = []
    for place in [*issues.tolist(), *others]:
        source, row = sources[rows.splits[place]], int(rows.rows[place])
        conflict = conflicting.pop((source, row), None)
        reasons = [LABEL] if place in likely else []
        reasons += [DUPLICATE] if conflict else []
        reasons += [NEAR] if place in near else []
        best = int(probabilities[place].argmax())
        found.append(
            Entry(
                exclude="",
                source=source,
                row=row,
                split=rows.splits[place],
                reasons="; ".join(reasons),
                given=names[rows.labels[place]],
                suggested=names[best],
                confidence=round(float(probabilities[place, best]), 4),
                self_confidence=round(float(quality[place]), 4),
                group=" ".join([*([f"d{conflict['group'] + 1}"] if conflict else []), *_some(near.get(place))]),
                text=rows.texts[place],
                text_pair=rows.pairs[place] if rows.pairs else "",
            )
        )
    return [*found, *_dropped(conflicting.values())]


def _dropped(conflicts: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    """Rows of contradictory groups that are in no split: the data set holds one row of a text, or none."""
    for each in conflicts:
        if each["kept"]:  # in a split that is not audited, or beyond its cap
            continue
        yield Entry(
            exclude="",
            source=each["source"],
            row=each["row"],
            split="",
            reasons=DUPLICATE,
            given=each["label"],
            suggested="",
            confidence=None,
            self_confidence=None,
            group=f"d{each['group'] + 1}",
            text=each["text"],
            text_pair=each["text_pair"],
        )


def _some(value: str | None) -> list[str]:
    return [] if value is None else [value]
