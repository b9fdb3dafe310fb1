"""Files that go from one artifact into the next unchanged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path


def carry_over(source: Path, target: Path, names: Iterable[str]) -> None:
    """Put the files `names` of the folder `source` into `target`: hard links, or copies where links cannot be made."""
    for name in names:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            # A link inside the store shares a file that nobody writes; one to a folder of the user's would follow
            # the changes made there.
            if not _read_only(source / name):
                raise OSError("not read-only")
            os.link(source / name, place)
        except OSError:
            shutil.copyfile(source / name, place)


def size_of(paths: Iterable[Path]) -> int:
    """The size of all `paths`, in bytes."""
    return sum(path.stat().st_size for path in paths)


def _read_only(path: Path) -> bool:
    return not path.stat().st_mode & 0o222
