"""Artifacts: the list of them, and what one is, was made of, and went into."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftx.artifacts import Artifact, Bundle, Manifest
from ftx.errors import FtxError
from ftx.runs import RunRecord
from ftx.store import Store
from ftx_plugins.report import figures
from ftx_plugins.report.origins import flat
from ftx_plugins.ui.finding import NotThere
from ftx_plugins.ui.listing import clock

Json = Mapping[str, Any]
MOST_FACTS = 200


@dataclass(frozen=True)
class ArtifactLine:
    digest: str
    kind: str
    step: str
    created: str
    size: str
    files: int
    facts: str
    damaged: str = ""
    """What is wrong with it."""


@dataclass(frozen=True)
class Related:
    """An artifact that another was made of, or that was made of it; `line` is None where the store has it no more."""

    name: str
    digest: str
    line: ArtifactLine | None


@dataclass(frozen=True)
class File:
    name: str
    size: str
    sha256: str
    there: bool


@dataclass(frozen=True)
class ArtifactView:
    line: ArtifactLine
    path: str
    seconds: str
    key: str
    inputs: tuple[Related, ...]
    uses: tuple[Related, ...]
    runs: tuple[str, ...]
    files: tuple[File, ...]
    tables: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    """(title, (name, value) pairs)."""
    can_be_tried: bool


class Artifacts:
    """All artifacts of a store. One never changes: its manifest is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[str, Manifest | str] = {}

    def lines(self) -> list[ArtifactLine]:
        """The newest first."""
        return sorted(
            (_line(digest, found) for digest, found in self._manifests().items()),
            key=lambda line: (line.created, line.step),
            reverse=True,
        )

    def bundles(self) -> list[ArtifactLine]:
        """Those with variants to try, the newest first."""
        found = self._manifests()
        return [line for line in self.lines() if _can_be_tried(found.get(line.digest))]

    def open(self, digest: str) -> Artifact:
        """`NotThere` where the store has none, `FtxError` for a damaged one."""
        if digest not in self._store.digests():
            raise NotThere(f"there is no artifact {digest[:12]} in the store", "it may have been collected: ftx cache")
        return self._store.open(digest)

    def view(self, digest: str, records: Sequence[RunRecord]) -> ArtifactView:
        """`records` are the runs among which those that made it are looked for."""
        artifact, manifests = self.open(digest), self._manifests()
        manifest = artifact.manifest
        inputs = tuple(_related(name, each, manifests.get(each)) for name, each in manifest.inputs.items())
        uses = tuple(
            _related(name, other, found)
            for other, found in manifests.items()
            if isinstance(found, Manifest)
            for name, each in found.inputs.items()
            if each == digest
        )
        made_by = tuple(
            record.id
            for record in records
            if any((step["artifact"] or {}).get("digest") == digest for step in record.steps)
        )
        return ArtifactView(
            _line(digest, manifest),
            str(artifact.path),
            figures.seconds(manifest.seconds) if manifest.seconds else "",
            manifest.key,
            inputs,
            uses,
            made_by,
            tuple(_files(artifact)),
            tuple(_tables(manifest)),
            _can_be_tried(manifest),
        )

    def file(self, digest: str, name: str) -> Path:
        """A file of an artifact. `NotThere` for what its manifest does not name, or lies elsewhere."""
        artifact = self.open(digest)
        path = (artifact.path / name).resolve()
        inside = path.is_relative_to(artifact.path.resolve())
        if name not in artifact.manifest.files or not inside or not path.is_file():
            raise NotThere(f"there is no such file in {digest[:12]}", "see what it has on its page")
        return path

    def _manifests(self) -> dict[str, Manifest | str]:
        """Of each digest its manifest, or what is wrong with it."""
        with self._lock:
            digests = self._store.digests()
            for gone in self._known.keys() - set(digests):
                del self._known[gone]
            for digest in digests:
                if not isinstance(self._known.get(digest), Manifest):
                    try:
                        self._known[digest] = Manifest.read(self._store.objects / digest)
                    except FtxError as error:
                        self._known[digest] = error.message
            return dict(self._known)


def _can_be_tried(found: Manifest | str | None) -> bool:
    return isinstance(found, Manifest) and found.kind == Bundle.kind and bool(found.meta.get("variants"))


def _line(digest: str, found: Manifest | str) -> ArtifactLine:
    if isinstance(found, str):
        return ArtifactLine(digest, "damaged", "", "", figures.NONE, 0, "", found)
    size = sum(entry.size for entry in found.files.values())
    facts = _facts(found)
    return ArtifactLine(
        digest, found.kind, found.step, clock(found.created), figures.megabytes(size / 1e6), len(found.files), facts
    )


def _facts(manifest: Manifest) -> str:
    """What tells it from others of its kind, on one line."""
    meta, metrics = manifest.meta, manifest.metrics
    if variants := meta.get("variants"):
        return ", ".join(str(variant["name"]) for variant in variants)
    if "models" in metrics:
        return f"{metrics.get('split', '')} split, {metrics.get('rows', '')} rows"
    if "splits" in metrics:
        return ", ".join(f"{rows:,} {name}" for name, rows in metrics["splits"].items())
    return f"recipe {meta['recipe'].get('scheme', '')}" if isinstance(meta.get("recipe"), Mapping) else ""


def _related(name: str, digest: str, found: Manifest | str | None) -> Related:
    return Related(name, digest, None if found is None else _line(digest, found))


def _files(artifact: Artifact) -> list[File]:
    return [
        File(name, figures.megabytes(entry.size / 1e6), entry.sha256, (artifact.path / name).is_file())
        for name, entry in sorted(artifact.manifest.files.items())
    ]


def _tables(manifest: Manifest) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    # An evaluation's metrics are the tables of its run.
    metrics = {} if "models" in manifest.metrics else manifest.metrics
    found = [
        (title, tuple(flat(values))[:MOST_FACTS])
        for title, values in (("Facts", manifest.meta), ("Metrics", metrics), ("Settings", manifest.config))
    ]
    return [(title, rows) for title, rows in [*found, ("Versions", tuple(manifest.versions.items()))] if rows]
