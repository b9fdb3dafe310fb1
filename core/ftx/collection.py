"""Looking after a store: what may go, and what is damaged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ftx.runs import list_runs
from ftx.store import CorruptArtifact, Store


@dataclass(frozen=True)
class Removed:
    """Something that was collected: `artifact`, `key` or `leftover`; its size in bytes."""

    what: str
    name: str
    size: int


def collect(store: Store, keep: int, *, dry_run: bool = False) -> list[Removed]:
    """Remove what the last `keep` runs neither made nor can resume from. What a run is using now stays."""
    runs = list(list_runs(store))
    going_on = [run for run in runs[keep:] if run.status == "running"]
    kept_keys = {step["key"] for run in [*runs[:keep], *going_on] for step in run.steps}
    kept = {record.digest for record in store.records() if record.key in kept_keys}
    removed: list[Removed] = []
    for record in list(store.records()):
        if record.key not in kept_keys and not store.is_locked(record.key):
            removed.append(Removed("key", record.key, 0))
            if not dry_run:
                (store.keys / f"{record.key}.json").unlink(missing_ok=True)
    in_use = {record.digest for record in store.records() if store.is_locked(record.key)}
    for digest in store.digests():
        if digest not in kept and digest not in in_use:
            removed.append(Removed("artifact", digest, _size(store.objects / digest)))
            if not dry_run:
                store.discard(digest)
    for key, folder in _stale(store, resumable=any(run.status not in ("done", "stopped") for run in runs[:keep])):
        removed.append(Removed("leftover", key, _size(folder)))
        if not dry_run:
            shutil.rmtree(folder, ignore_errors=True)
    return removed


def verify_all(store: Store) -> tuple[int, list[str]]:
    """How many artifacts were checked, and what is wrong with those that are damaged."""
    damaged = []
    digests = store.digests()
    for digest in digests:
        try:
            store.verify(digest)
        except CorruptArtifact as error:
            damaged.append(str(error))
    present = set(digests)
    damaged += [
        f"the key {record.key[:12]} ({record.step}) points at {record.digest[:12]}, which is missing"
        for record in store.records()
        if record.digest and record.digest not in present
    ]
    return len(digests), damaged


def _stale(store: Store, *, resumable: bool) -> Iterator[tuple[str, Path]]:
    """Artifacts never finished, and, unless some run is `resumable`, the work folders that it would go on from."""
    for key, folder in store.leftovers():
        if folder.parent.name == "tmp" or not resumable:
            yield key, folder


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
