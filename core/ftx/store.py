"""The content-addressed store: artifacts under their digest, step keys that point at them, locks, work folders.

    .ftx/store.json           the schema
    .ftx/objects/DIGEST/      artifacts: read-only, complete, hashed
    .ftx/keys/KEY.json        what a step with this key made
    .ftx/locks/KEY.lock       held while that step is made
    .ftx/work/KEY/            what lets a killed step resume
    .ftx/tmp/KEY/             an artifact in the making; never looked at by anyone else
    .ftx/runs/ID/             runs

An artifact appears in `objects` by one rename, after all its bytes are on disk. A kill at any moment leaves at worst a
folder in `tmp` or `work`, which the next holder of the key's lock takes over.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import filelock

from ftx.artifacts import MANIFEST, Artifact, FileEntry, Manifest, open_artifact
from ftx.errors import ExitCode, FtxError
from ftx.hashing import hash_file, hash_folder

SCHEMA = 1
NO_ROOM = 64 * 1024
"""Free bytes below which an error while writing is put down to the disk."""


@dataclass(frozen=True)
class KeyRecord:
    """What a step with a certain key made, as it was made."""

    key: str
    step: str
    digest: str | None
    """None for a step that gives no artifact."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    created: str = ""


class CorruptArtifact(Exception):
    """An artifact whose files are not what its manifest says."""


class Store:
    """The folder `.ftx` beside ftx.toml."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.objects, self.keys, self.runs = root / "objects", root / "keys", root / "runs"
        self._locks, self._work, self._tmp = root / "locks", root / "work", root / "tmp"
        self._check_schema()

    def create(self) -> None:
        """Make the folders, where they are missing. Reading needs none of them."""
        with disk_errors(self.root):
            for folder in (self.objects, self.keys, self.runs, self._locks, self._work, self._tmp):
                folder.mkdir(parents=True, exist_ok=True)
            if not (self.root / "store.json").exists():
                write_atomically(self.root / "store.json", json.dumps({"schema": SCHEMA}) + "\n")
            ignore = self.root / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", encoding="utf-8")

    @contextlib.contextmanager
    def lock(self, key: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the key's lock; `on_wait` is called once if another process holds it. A killed process lets go."""
        lock = filelock.FileLock(self._locks / f"{key}.lock")
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            on_wait()
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def is_locked(self, key: str) -> bool:
        """Whether some process is making what has this key."""
        lock = filelock.FileLock(self._locks / f"{key}.lock")
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            return True
        lock.release()
        return False

    def find(self, key: str) -> KeyRecord | None:
        """What is recorded under a key; whether the artifact is whole is another question (`verify`)."""
        try:
            raw = json.loads((self.keys / f"{key}.json").read_text(encoding="utf-8"))
            return KeyRecord(**{**raw, "warnings": tuple(raw["warnings"])})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            return None  # a damaged record is a miss: its step is made again

    def open(self, digest: str) -> Artifact:
        return open_artifact(self.objects / digest)

    def verify(self, digest: str) -> Artifact:
        """The artifact, after every byte of it was checked; `CorruptArtifact` says what is wrong."""
        folder = self.objects / digest
        if not folder.is_dir():
            raise CorruptArtifact(f"{digest[:12]} is missing")
        try:
            artifact = open_artifact(folder)
        except FtxError as error:
            raise CorruptArtifact(error.message) from error
        if artifact.digest != digest:
            raise CorruptArtifact(f"{digest[:12]} holds another artifact")
        found = hash_folder(folder)
        for name in sorted({*artifact.manifest.files, *found}):
            if artifact.manifest.files.get(name) != found.get(name):
                state = (
                    "is missing"
                    if name not in found
                    else "was changed"
                    if name in artifact.manifest.files
                    else "is new"
                )
                raise CorruptArtifact(f"{digest[:12]}: {name} {state}")
        return artifact

    def discard(self, digest: str) -> None:
        """Take an artifact out of sight at once, then delete it."""
        folder = self.objects / digest
        if folder.exists():
            aside = self._tmp / f"discarded-{digest}-{os.getpid()}"
            folder.rename(aside)
            _delete(aside)

    def prepare(self, key: str) -> tuple[Path, Path]:
        """An empty folder for the artifact to be, and the key's work folder as an earlier try left it.

        The caller holds the key's lock, so whatever is there belongs to a try that was killed.
        """
        out, work = self._tmp / key, self._work / key
        with disk_errors(self.root):
            _delete(out)
            out.mkdir(parents=True)
            work.mkdir(parents=True, exist_ok=True)
        return out, work

    def publish(self, out: Path, manifest: Manifest, record: KeyRecord) -> Artifact:
        """Make the folder `out` an artifact, visible at once and whole, and record it under its key."""
        with disk_errors(self.root):
            (out / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
            _make_durable(out)
            target = self.objects / manifest.digest
            if target.exists():
                self._replace_if_corrupt(out, target)
            else:
                out.rename(target)
                _sync(self.objects)
            self.record(record)
        return open_artifact(target)

    def record(self, record: KeyRecord) -> None:
        """Write down what a key made, and clear its work folder."""
        with disk_errors(self.root):
            write_atomically(self.keys / f"{record.key}.json", json.dumps(asdict(record), indent=1) + "\n")
        _delete(self._work / record.key)

    def abandon(self, key: str, *, resumable: bool = True) -> None:
        """Delete the artifact in the making; the work folder stays, so that the step can resume, unless it will not."""
        _delete(self._tmp / key)
        if not resumable:
            _delete(self._work / key)

    def records(self) -> Iterator[KeyRecord]:
        for path in sorted(self.keys.glob("*.json")) if self.keys.is_dir() else ():
            if record := self.find(path.stem):
                yield record

    def digests(self) -> list[str]:
        return sorted(path.name for path in self.objects.iterdir()) if self.objects.is_dir() else []

    def leftovers(self) -> Iterator[tuple[str, Path]]:
        """(key, folder) of `tmp` and `work` folders that nobody is using."""
        for parent in (self._tmp, self._work):
            for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
                if not self.is_locked(folder.name):
                    yield folder.name, folder

    def remembered_hash(self, path: Path) -> FileEntry:
        """The hash of a file outside the store, computed once for each (path, size, time of change, inode)."""
        stat = path.stat()
        stamp = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}"
        known = self._known_hashes()
        if stamp not in known:
            known[stamp] = hash_file(path).sha256
            # What cannot be remembered is computed again: a full disk is reported by what must be written.
            with contextlib.suppress(OSError):
                if self.root.is_dir():
                    write_atomically(self.root / "hashes.json", json.dumps(known, indent=0))
        return FileEntry(known[stamp], stat.st_size)

    def _known_hashes(self) -> dict[str, str]:
        try:
            known = json.loads((self.root / "hashes.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def _replace_if_corrupt(self, out: Path, target: Path) -> None:
        try:
            self.verify(target.name)
            _delete(out)
        except CorruptArtifact:
            self.discard(target.name)
            out.rename(target)
            _sync(self.objects)

    def _check_schema(self) -> None:
        try:
            schema = json.loads((self.root / "store.json").read_text(encoding="utf-8"))["schema"]
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            raise FtxError(
                f"{self.root / 'store.json'} is damaged",
                f'write {{"schema": {SCHEMA}}} into it, then: ftx cache verify',
            ) from None
        if schema > SCHEMA:
            raise FtxError(
                f"the store {self.root} has schema {schema}; this ftx reads up to {SCHEMA}",
                "upgrade: pip install -U ftx-toolchain",
                "or start another store: ftx run … --set store=.ftx-old",
            )


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by one rename, its bytes on disk before."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Turn a full or unwritable disk into one clear error; what was published before stays whole."""
    try:
        yield
    except FtxError:
        raise
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise FtxError(
                f"{error.filename or root} cannot be written", "put the store elsewhere: --set store=DIR"
            ) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or _is_full(root, error):
            raise _disk_is_full(root) from error
        raise
    except Exception as error:
        # Libraries in other languages have errors of their own for this.
        if _is_full(root, error):
            raise _disk_is_full(root) from error
        raise


def _is_full(root: Path, error: Exception) -> bool:
    text = str(error).lower()
    if any(words in text for words in ("no space left", "os error 28", "disk quota")):
        return True
    return root.exists() and shutil.disk_usage(root).free < NO_ROOM


def _disk_is_full(root: Path) -> FtxError:
    return FtxError(
        f"the disk of {root} is full",
        "make room (ftx cache gc), then run the same command again",
        code=ExitCode.STEP_FAILED,
    )


def _make_durable(folder: Path) -> None:
    """Files read-only and on disk, then the folders, so that a rename never shows what a power cut could undo."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(root) / name
            path.chmod(0o444)
            _sync(path)
        _sync(Path(root))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _delete(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
