"""Hashes of files and folders, and the remembered hashes of files that did not change."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ftx.artifacts import MANIFEST, FileEntry


def hash_file(path: Path) -> FileEntry:
    """The sha256 and size of one file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileEntry(digest, os.fstat(file.fileno()).st_size)


def hash_folder(folder: Path) -> dict[str, FileEntry]:
    """Relative POSIX path -> entry, of every file below `folder` but its manifest, sorted by path.

    Large files are hashed side by side: hashing releases the GIL.
    """
    paths = files_below(folder)
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        entries = pool.map(hash_file, paths)
        return {path.relative_to(folder).as_posix(): entry for path, entry in zip(paths, entries, strict=True)}


def files_below(folder: Path) -> list[Path]:
    """Every file below `folder` but its manifest, sorted by path."""
    paths = (Path(root) / name for root, _, names in os.walk(folder) for name in names)
    return sorted(path for path in paths if path != folder / MANIFEST)
