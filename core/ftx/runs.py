"""Runs on disk, `.ftx/runs/ID/`, and the references that name what they made."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from ftx.artifacts import MANIFEST, Artifact, open_artifact
from ftx.errors import FtxError
from ftx.store import Store, disk_errors, write_atomically

LATEST = "latest"
RECORD = "run.json"
PLAN = "plan.json"
CLOCKS_APART = 60.0
"""Seconds by which the system's time may be set while a process runs, which moves when that is said to have begun."""


@dataclass
class RunRecord:
    """A run, as `run.json` holds it: rewritten whole after each step."""

    id: str
    words: tuple[str, ...]
    config_path: str | None
    started: str
    status: str = "running"
    """`running`, `done`, `failed`, `budget`, `stopped`, `interrupted`; `killed` is what a dead `running` reads as."""
    finished: str | None = None
    pid: int = field(default_factory=os.getpid)
    steps: list[dict[str, Any]] = field(default_factory=list)
    """`{"step", "key", "cached", "seconds", "artifact": {"digest", "kind", "path"} or None, "metrics", "warnings"}`"""
    scoreboard: list[dict[str, Any]] = field(default_factory=list)
    artifact: dict[str, Any] | None = None
    error: dict[str, Any] | None = None

    def save(self, store: Store) -> None:
        folder = store.runs / self.id
        with disk_errors(store.root):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / RECORD, json.dumps(asdict(self), indent=1, default=str) + "\n")

    def _repr_html_(self) -> str:
        """What Jupyter shows of it."""
        from ftx.notebook import run_html

        return run_html(self)


def save_plan(store: Store, identity: str, plan: Mapping[str, Any]) -> None:
    """Keep what a run was to do (`Plan.to_json`) beside its record, which is rewritten after each step."""
    with disk_errors(store.root):
        write_atomically(store.runs / identity / PLAN, json.dumps(plan, indent=1, ensure_ascii=False) + "\n")


def read_plan(store: Store, identity: str) -> dict[str, Any]:
    """What a run was to do; empty for one whose plan was not kept."""
    try:
        plan: dict[str, Any] = json.loads((store.runs / identity / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return plan


def new_run(words: tuple[str, ...], config_path: Path | None) -> RunRecord:
    """A run that starts now; its ID sorts by time."""
    now = datetime.now(UTC)
    identity = f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03}{secrets.token_hex(1)}"
    return RunRecord(identity, words, str(config_path) if config_path else None, timestamp(now))


def timestamp(moment: datetime | None = None) -> str:
    return (moment or datetime.now(UTC)).isoformat(timespec="seconds")


def list_runs(store: Store) -> Iterator[RunRecord]:
    """All runs, the newest first; one that is `running` without its process is `killed`."""
    for path in record_files(store):
        record = read_record(path)
        if record is not None:
            yield record


def find_run(identity: str, store: Store) -> RunRecord | None:
    """The run with this ID; None where there is none."""
    path = next((path for path in record_files(store) if path.parent.name == identity), None)
    return None if path is None else read_record(path)


def record_files(store: Store) -> list[Path]:
    """The `run.json` of every run, the newest first."""
    return sorted(store.runs.glob(f"*/{RECORD}"), reverse=True) if store.runs.is_dir() else []


def read_record(path: Path) -> RunRecord | None:
    """A run as its `run.json` holds it now; None where another version wrote it, or nobody has it any more."""
    try:
        record = RunRecord(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, FileNotFoundError):
        return None
    if record.status == "running" and not is_going_on(record):
        record.status = "killed"
    return record


def is_going_on(record: RunRecord) -> bool:
    """Whether the process that carries out the run is there.

    One that was killed may be a zombie still, and its number may since belong to another process: one that began
    after the run.
    """
    try:
        process = psutil.Process(record.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        began = process.create_time()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    return began <= datetime.fromisoformat(record.started).timestamp() + CLOCKS_APART


def find_artifact(reference: str, store: Store) -> Artifact:
    """What a REF names: a folder, `latest`, `latest:STAGE[:METHOD]`, or the beginning of a digest."""
    folder = Path(reference).expanduser()
    if (folder / MANIFEST).is_file():
        return open_artifact(folder)
    if reference == LATEST or reference.startswith(f"{LATEST}:"):
        return _latest(reference.removeprefix(LATEST).removeprefix(":"), store)
    matches = [digest for digest in store.digests() if digest.startswith(reference.lower())] if reference else []
    if len(matches) == 1:
        return store.open(matches[0])
    if matches:
        shown = ", ".join(match[:12] for match in matches[:5])
        raise FtxError(f"{reference} is ambiguous: {shown}", "give more of the digest")
    if folder.is_dir():
        raise FtxError(f"{folder} holds no artifact ({MANIFEST} is missing)", "list what there is: ftx cache ls")
    raise FtxError(f"there is no artifact {reference} in {store.root}", "list what there is: ftx cache ls")


def trained_ancestor(artifact: Artifact, store: Store) -> Artifact | None:
    """The trained, unpruned, unquantized checkpoint that an artifact descends from, if the store still has it."""
    while not artifact.manifest.step.startswith("train:"):
        parent = input_of(artifact, "model", store)
        if parent is None:
            return None
        artifact = parent
    return artifact


def input_of(artifact: Artifact, name: str, store: Store) -> Artifact | None:
    """What an artifact was made from, if the store still has it."""
    digest = artifact.manifest.inputs.get(name, "")
    return store.open(digest) if digest and (store.objects / digest).is_dir() else None


def _latest(wanted: str, store: Store) -> Artifact:
    """What the newest run made: its last bundle or checkpoint, or what its last step of a stage gave."""
    for record in list_runs(store):
        made = record.artifact if not wanted else _last_of(record, wanted)
        if made and (store.objects / made["digest"]).is_dir():
            return store.open(made["digest"])
    what = f"step {wanted}" if wanted else "bundle or checkpoint"
    raise FtxError(
        f"no run in {store.root} has made anything with a {what}"
        if wanted
        else f"no run in {store.root} made a {what}",
        f"run it: ftx run {wanted or 'train quantize export'}",
        "or name the project's file: --config FILE",
    )


def _last_of(record: RunRecord, wanted: str) -> Mapping[str, Any] | None:
    for step in reversed(record.steps):
        name = step["step"]
        if step["artifact"] and (name == wanted or name.partition(":")[0] == wanted):
            artifact: Mapping[str, Any] = step["artifact"]
            return artifact
    return None
