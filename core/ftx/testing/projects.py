"""A project that is driven as users drive it: by the command line, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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
invariance_rows = 12
latency_rows = 20
throughput_rows = 32

[choose]
seconds = 0.02
threads = [1]
"""
"""Settings with which every built-in step takes a second or two on a tiny model."""
TIMEOUT = 240
"""Seconds after which a command is killed."""


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
    path: tuple[Path, ...] = field(default=())
    """Folders that its commands import from first: where a plugin under test, and its metadata, lie."""

    @property
    def store(self) -> Store:
        return Store(self.root / ".ftx")

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FTX_", "HF_"))}
        path = [*map(str, self.path), *filter(None, [kept.get("PYTHONPATH")])]
        # One thread: with more, those of torch spin while other tests want the cores.
        own = {"HOME": str(self.home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        return {**kept, **own, **({"PYTHONPATH": os.pathsep.join(path)} if path else {})}

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
            out, err = process.communicate(text, timeout=TIMEOUT)
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


def plugin_path(plugins: Mapping[str, str], folder: Path) -> tuple[Path, ...]:
    """Folders with which on its path a process has these plugins (name -> hooks module), installed or not.

    Each module's package counts as a distribution of its name, with hyphens: where pip has installed that too, this
    one comes first. Its metadata is written below `folder`.
    """
    sources = []
    for name, module in plugins.items():
        package = module.partition(".")[0]
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise LookupError(f"the package {package} of the plugin {name} cannot be found")
        sources.append(Path(spec.origin).parents[1 if spec.submodule_search_locations else 0])
        info = folder / f"{package}-0.dist-info"
        info.mkdir(parents=True)
        distribution = package.replace("_", "-")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[ftx]\n{name} = {module}\n", encoding="utf-8")
    return (folder, *dict.fromkeys(sources))


def as_csv(rows: Sequence[tuple[str, str]] | str | bytes) -> bytes:
    """A csv with the columns `text` and `label`; text and bytes are taken as they are."""
    if isinstance(rows, bytes):
        return rows
    if isinstance(rows, str):
        return rows.encode()
    return "".join(f"{text},{label}\n" for text, label in [("text", "label"), *rows]).encode()
