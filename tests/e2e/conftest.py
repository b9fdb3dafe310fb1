"""Projects that are driven as users drive them: by the command line, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ftx.collection import verify_all
from ftx.runs import list_runs
from ftx.store import Store

QUICK = """
[train]
epochs = 6
batch_size = 8
learning_rate = 1e-3
mixed_precision = "fp32"

[quantize]
calibration = "min-max"
smooth = 0.0
calibration_rows = 32
choice_rows = 4
held_out_rows = 8
sensitivity_rows = 8
flip_rate = 1.0
accuracy_drop = 1.0

[export]
formats = ["onnx", "torchscript"]
parity_texts = 8
golden_texts = 4

[evaluate]
latency_rows = 20
throughput_rows = 32
"""


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def hints(self) -> list[str]:
        return [line.strip().removeprefix("→ ") for line in self.err.splitlines() if line.startswith("  → ")]


@dataclass(frozen=True)
class Project:
    """A folder with an ftx.toml, and a home of its own."""

    root: Path
    home: Path

    @property
    def store(self) -> Store:
        return Store(self.root / ".ftx")

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FTX_", "HF_"))}
        # One thread: with more, those of torch spin while other tests want the cores.
        return {**kept, "HOME": str(self.home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """`ftx ARGUMENTS`, begun in a process group of its own, its stdout and stderr in pipes."""
        return subprocess.Popen(
            [sys.executable, "-m", "ftx", *arguments],
            cwd=self.root,
            env=self.environment | options.pop("environment", {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )

    def ftx(self, *arguments: str, text: str = "", environment: dict[str, str] | None = None) -> Ran:
        """`ftx ARGUMENTS` with `text` on its stdin, and how it ended."""
        return self.finish(self.start(*arguments, environment=environment or {}), text)

    def finish(self, process: subprocess.Popen[str], text: str = "") -> Ran:
        """Wait for a process; one that takes minutes is killed, with all that it started."""
        try:
            out, err = process.communicate(text, timeout=240)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return Ran(process.returncode, out, err)

    def write(self, toml: str) -> None:
        (self.root / "ftx.toml").write_text(toml, encoding="utf-8")

    def logged(self, process: subprocess.Popen[str], event: str, step: str) -> bool:
        """Whether the run that this process carries out has logged `event` of `step`."""
        for record in list_runs(self.store):
            if record.pid == process.pid and (log := self.store.runs / record.id / "events.jsonl").exists():
                # The last line may be in the writing.
                lines = [line for line in log.read_text(encoding="utf-8").splitlines(True) if line.endswith("\n")]
                return any((each["event"], each.get("step")) == (event, step) for each in map(json.loads, lines))
        return False

    def wait_for(self, process: subprocess.Popen[str], event: str, step: str) -> None:
        """Until `event` of `step` is logged, or the process is over."""
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline and not self.logged(process, event, step):
            time.sleep(0.005)

    def forget(self, step: str) -> None:
        """Make `step` a miss: what it made is not found under its key."""
        for record in self.store.records():
            if record.step == step:
                (self.store.keys / f"{record.key}.json").unlink()

    def assert_store_is_whole(self) -> None:
        """Everything that is visible in the store is whole, byte by byte; every key points at something."""
        _, damaged = verify_all(self.store)
        assert damaged == []


MakeProject = Callable[..., Project]


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path, make_sentences: Any) -> MakeProject:
    """`make_project(rows=150, model=tiny_encoder, settings="")`: a project with `rows.csv`, not run yet.

    `rows` is a number of sentences, (text, label) rows, the csv itself, or its bytes; `settings` is more of the
    ftx.toml, and stands before the tables.
    """

    def make(
        rows: int | Sequence[tuple[str, str]] | str | bytes = 150, model: Path | str = tiny_encoder, settings: str = ""
    ) -> Project:
        root = tmp_path_factory.mktemp("project")
        home = tmp_path_factory.mktemp("home")
        (root / "rows.csv").write_bytes(as_csv(make_sentences(rows) if isinstance(rows, int) else rows))
        project = Project(root, home)
        project.write(f'{settings}\n[model]\nname = "{model}"\n\n[data]\ntrain = "rows.csv"\n{QUICK}')
        return project

    return make


def as_csv(rows: Sequence[tuple[str, str]] | str | bytes) -> bytes:
    if isinstance(rows, bytes):
        return rows
    if isinstance(rows, str):
        return rows.encode()
    return "".join(f"{text},{label}\n" for text, label in [("text", "label"), *rows]).encode()
