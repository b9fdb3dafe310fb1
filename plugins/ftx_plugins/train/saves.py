"""The saves of a run in its work folder: which are complete, and which to go on from.

A save is a folder `checkpoint-STEP` of the Trainer. Its last file, `complete.json`, lists the size of each other file:
a save without it, or with a file of another size, was cut short by a kill and is passed over.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "checkpoint-"
COMPLETE = "complete.json"
STATE = "trainer_state.json"


@dataclass(frozen=True)
class Save:
    """One complete save, and what the Trainer wrote of its state."""

    path: Path
    state: dict[str, Any]

    @property
    def step(self) -> int:
        return _step(self.path)


def write_json(path: Path, value: Any) -> None:
    """Write a file that appears whole, or not at all."""
    draft = path.with_name(f"{path.name}.tmp")
    draft.write_text(json.dumps(value), encoding="utf-8")
    draft.replace(path)


def mark_complete(save: Path) -> None:
    """Say that all files of a save are written."""
    sizes = {file.name: file.stat().st_size for file in save.iterdir() if file.name != COMPLETE}
    write_json(save / COMPLETE, sizes)


def unmark(save: Path) -> None:
    """Say that a save is about to be written over, or removed."""
    (save / COMPLETE).unlink(missing_ok=True)


def is_complete(save: Path) -> bool:
    marker = save / COMPLETE
    if not marker.exists():
        return False
    sizes = json.loads(marker.read_text(encoding="utf-8"))
    return all((save / name).is_file() and (save / name).stat().st_size == size for name, size in sizes.items())


def save_of(folder: Path, step: int) -> Path:
    return folder / f"{PREFIX}{step}"


def last_complete(folder: Path) -> Save | None:
    """The latest save to go on from: complete, and so is the best save that it refers to. Removes the later ones."""
    for path in sorted(folder.glob(f"{PREFIX}*"), key=_step, reverse=True):
        if is_complete(path):
            save = Save(path, json.loads((path / STATE).read_text(encoding="utf-8")))
            best = save.state["best_global_step"]
            if best is None or is_complete(save_of(folder, best)):
                return save
        remove(path)
    return None


def keep_best_and_last(folder: Path, best_step: int | None) -> None:
    """Remove all saves but the last one and the best."""
    saves = sorted(folder.glob(f"{PREFIX}*"), key=_step)
    for path in saves[:-1]:
        if _step(path) != best_step:
            remove(path)


def remove(save: Path) -> None:
    """Remove a save, its mark first: half of it must not be taken for a whole."""
    unmark(save)
    shutil.rmtree(save)


def _step(save: Path) -> int:
    return int(save.name.removeprefix(PREFIX))
