"""The folder of a load test while it runs: whatever ends it, what was measured until then is there.

job.json         what was asked for
rows-N.bin       `samples.ROW` after `samples.ROW` of worker N, appended several times a second
labels-N.json    the labels that the rows of worker N count
phases.jsonl     a line for each phase that has begun, and one for each that has ended
origin.json      where the axis of time begins, on this machine's monotonic clock
resources.jsonl  what the server cost this machine, where it runs here (`ftx_loadtests.resources`)
failure.json     why it could not go on
locust.log       what Locust had to say
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ftx_loadtests.samples import ROW, Samples, concatenate
from ftx_loadtests.scenarios import Phase

FILES = (
    "job.json",
    "rows-*.bin",
    "labels-*",
    "phases.jsonl",
    "failure.json",
    "locust.log",
    "origin.json",
    "resources.jsonl",
)


@dataclass(frozen=True)
class PhaseRecord:
    """A phase as it was carried out; times in seconds since the start of measuring."""

    phase: Phase
    start: float
    end: float | None
    """None while it runs, or where it never ended."""
    figures: Sequence[Mapping[str, float]] = ()
    """Of each worker: seconds on the clock (`wall`) and of the processor (`cpu`)."""


class Recording:
    """Reads and writes the files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def log(self) -> Path:
        return self.folder / "locust.log"

    @property
    def job(self) -> Path:
        return self.folder / "job.json"

    def clear(self) -> None:
        """Make the folder, and leave nothing of an earlier test in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for pattern in FILES:
            for path in self.folder.glob(pattern):
                path.unlink()

    def add_rows(self, worker: int, rows: bytes, labels: Sequence[str]) -> None:
        # The labels first: a row must not count one that is not there.
        path = self.folder / f"labels-{worker}.json"
        written = path.with_suffix(".new")
        written.write_text(json.dumps(list(labels)), encoding="utf-8")
        written.replace(path)
        with (self.folder / f"rows-{worker}.bin").open("ab") as stream:
            stream.write(rows)

    def add_phase(self, record: PhaseRecord) -> None:
        line = {
            "phase": record.phase.as_json(),
            "start": record.start,
            "end": record.end,
            "figures": [dict(each) for each in record.figures],
        }
        with (self.folder / "phases.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    @property
    def resources(self) -> Path:
        return self.folder / "resources.jsonl"

    def begin(self, origin: float) -> None:
        (self.folder / "origin.json").write_text(json.dumps({"monotonic": origin}), encoding="utf-8")

    def origin(self) -> float | None:
        """None where nothing that counts has begun."""
        path = self.folder / "origin.json"
        return float(json.loads(path.read_text(encoding="utf-8"))["monotonic"]) if path.is_file() else None

    def fail(self, message: str) -> None:
        (self.folder / "failure.json").write_text(json.dumps({"message": message}), encoding="utf-8")

    def failure(self) -> str | None:
        path = self.folder / "failure.json"
        return str(json.loads(path.read_text(encoding="utf-8"))["message"]) if path.is_file() else None

    def phases(self) -> list[PhaseRecord]:
        """The phases so far, each once."""
        path = self.folder / "phases.jsonl"
        found: list[PhaseRecord] = []
        for line in path.read_text(encoding="utf-8").split("\n") if path.is_file() else []:
            if not line.endswith("}"):
                continue  # empty, or cut off by a kill
            document: dict[str, Any] = json.loads(line)
            record = PhaseRecord(
                Phase.from_json(document["phase"]), document["start"], document["end"], document["figures"]
            )
            if record.end is not None:
                found.pop()
            found.append(record)
        return found

    def samples(self) -> Samples:
        """All rows so far, warm-up and searches included; a row that a kill has cut off is left out."""
        parts = []
        for path in sorted(self.folder.glob("rows-*.bin")):
            labels = json.loads(path.with_name(path.stem.replace("rows", "labels") + ".json").read_text("utf-8"))
            data = path.read_bytes()
            whole = len(data) // ROW.itemsize * ROW.itemsize
            parts.append(Samples.from_rows(np.frombuffer(data[:whole], dtype=ROW), labels))
        return concatenate(parts)
