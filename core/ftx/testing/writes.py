"""Watching what Python code does to the file system, by the interpreter's audit events.

Files that a library in another language writes raise no event, nor do those of another process.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CREATES = {"os.mkdir": 0, "os.link": 1, "os.symlink": 1, "os.rename": 1}
"""Event -> which of its arguments names what is there afterwards."""
_REMOVES = {"os.remove": 0, "os.rmdir": 0, "os.rename": 0, "shutil.rmtree": 0}
"""Event -> which of its arguments names what is gone afterwards."""
_NO_FILES = ("/dev/", "/proc/", "/sys/")
_CACHES = re.compile("__pycache__|/torchinductor_")
"""What Python and torch keep to start faster: nobody's result."""


@dataclass
class Writes:
    """What was written and removed outside the folders that were allowed."""

    allowed: tuple[str, ...]
    written: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)

    def left(self) -> list[str]:
        """Files and folders that were written and are still there, and those that were there and are gone.

        A temporary file that is gone again has disturbed nobody.
        """
        return sorted({path for path in self.written if os.path.lexists(path)} | (self.removed - self.written))

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            # Opening a folder to write makes a temporary file that never has a name.
            if isinstance(flags, int) and flags & _WRITING and not _is_folder(path):
                self._add(self.written, path)
        # The order matters: what a rename takes away may be what was written before.
        if event in _REMOVES and not _relative_to_a_folder(event, arguments):
            self._add(self.removed, arguments[_REMOVES[event]])
        if event in _CREATES and not _relative_to_a_folder(event, arguments):
            self._add(self.written, arguments[_CREATES[event]])

    def _add(self, paths: set[str], path: Any) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # an open file's number: it was counted when it was opened
        name = os.path.realpath(os.fsdecode(path))
        own = any(name == folder or name.startswith(folder + os.sep) for folder in self.allowed)
        if not own and not name.startswith(_NO_FILES) and not _CACHES.search(name):
            paths.add(name)


_active: list[Writes] = []
_installed = False


@contextlib.contextmanager
def watch_writes(*allowed: Path) -> Iterator[Writes]:
    """What happens to files within the block, in this process, anywhere but in the folders `allowed`."""
    global _installed
    if not _installed:
        # An audit hook cannot be taken out again: this one idles while nothing is watched.
        sys.addaudithook(_hook)
        _installed = True
    writes = Writes(tuple(os.path.realpath(folder) for folder in allowed))
    _active.append(writes)
    try:
        yield writes
    finally:
        _active.remove(writes)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _active and (event == "open" or event in _REMOVES or event in _CREATES):
        for writes in tuple(_active):
            writes.note(event, arguments)


def _is_folder(path: Any) -> bool:
    return isinstance(path, str | bytes | os.PathLike) and Path(os.fsdecode(path)).is_dir()


def _relative_to_a_folder(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether the path is relative to an open folder: the call that opened it, such as rmtree, has been noted."""
    numbers = [value for value in arguments[1:] if isinstance(value, int)]
    folders = numbers[1:] if event == "os.mkdir" else numbers
    return any(number >= 0 for number in folders)
