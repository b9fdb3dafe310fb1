from __future__ import annotations

import errno
import json
import subprocess
import sys
import textwrap
import threading

import pytest

from ftx.artifacts import Manifest
from ftx.errors import FtxError
from ftx.hashing import hash_file, hash_folder
from ftx.store import CorruptArtifact, KeyRecord, Store, disk_errors, write_atomically


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / ".ftx")
    store.create()
    return store


def publish(store, key="k1", text="hello", **meta):
    out, _ = store.prepare(key)
    (out / "words.txt").write_text(text)
    manifest = Manifest(kind="checkpoint", files=hash_folder(out), meta=meta, step="train:words", key=key)
    return store.publish(out, manifest, KeyRecord(key, "train:words", manifest.digest))


def test_a_published_artifact_is_found_by_its_key_and_is_whole(store):
    artifact = publish(store)
    record = store.find("k1")
    assert record is not None
    assert store.verify(record.digest or "").path == artifact.path
    assert (artifact.path / "words.txt").stat().st_mode & 0o222 == 0


def test_equal_content_is_one_object_and_meta_is_part_of_it(store):
    assert publish(store, "k1").digest == publish(store, "k2").digest
    assert publish(store, "k3", recipe="int8").digest != publish(store, "k1").digest
    assert len(store.digests()) == 2


@pytest.mark.parametrize("damage", ["change", "remove", "add", "manifest"])
def test_a_damaged_artifact_is_told_from_a_whole_one(store, damage):
    artifact = publish(store)
    file = artifact.path / "words.txt"
    if damage == "change":
        file.chmod(0o644)
        file.write_text("jello")
    elif damage == "remove":
        file.unlink()
    elif damage == "add":
        (artifact.path / "more.txt").write_text("x")
    else:
        manifest = artifact.path / "manifest.json"
        manifest.chmod(0o644)
        manifest.write_text(manifest.read_text().replace("checkpoint", "bundle"))
    with pytest.raises(CorruptArtifact):
        store.verify(artifact.digest)


def test_publishing_over_a_damaged_artifact_replaces_it(store):
    artifact = publish(store)
    (artifact.path / "words.txt").unlink()
    publish(store, "k2")
    assert store.verify(artifact.digest)


def test_a_damaged_record_is_a_miss(store):
    publish(store)
    (store.keys / "k1.json").write_text("{")
    assert store.find("k1") is None


def test_what_a_killed_try_left_is_taken_over_and_its_work_kept(store):
    out, work = store.prepare("k1")
    (out / "half.bin").write_text("half")
    (work / "epoch-1").write_text("done")
    again, work_again = store.prepare("k1")
    assert list(again.iterdir()) == []
    assert (work_again / "epoch-1").exists()
    publish(store)
    assert not work_again.exists()


def test_a_store_of_a_newer_schema_is_refused(tmp_path):
    (tmp_path / "store.json").write_text('{"schema": 99}')
    with pytest.raises(FtxError, match="schema 99"):
        Store(tmp_path)


def test_a_manifest_of_a_newer_schema_is_refused(store):
    artifact = publish(store)
    path = artifact.path / "manifest.json"
    path.chmod(0o644)
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    with pytest.raises(FtxError, match="newer ftx"):
        store.open(artifact.digest)


def test_a_lock_makes_the_second_wait_and_says_so(store):
    waited = threading.Event()
    order = []

    def second():
        with store.lock("k1", waited.set):
            order.append("second")

    with store.lock("k1"):
        thread = threading.Thread(target=second)
        thread.start()
        assert waited.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_the_lock_of_a_killed_process_is_free(store):
    script = f"""
        import os, signal
        from pathlib import Path
        from ftx.store import Store
        with Store(Path({str(store.root)!r})).lock("k1"):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False).returncode == -9
    assert not store.is_locked("k1")


def test_the_hash_of_an_unchanged_file_is_remembered_and_of_a_changed_one_is_not(store, tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    path.write_text("one")
    first = store.remembered_hash(path)
    monkeypatch.setattr("ftx.store.hash_file", lambda path: pytest.fail("hashed again"))
    assert store.remembered_hash(path) == first
    monkeypatch.undo()
    path.write_text("two!")
    assert store.remembered_hash(path) != first


@pytest.mark.parametrize("content", ["[]", "{", "null"])
def test_damaged_remembered_hashes_are_forgotten(store, tmp_path, content):
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    (store.root / "hashes.json").write_text(content)
    assert store.remembered_hash(path) == hash_file(path)


def test_a_hash_that_cannot_be_remembered_is_computed_all_the_same(store, tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ftx.store.write_atomically", full)
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    assert store.remembered_hash(path) == hash_file(path)


class ForeignError(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        ForeignError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_error_whoever_reports_it(store, error):
    with pytest.raises(FtxError, match="is full"), disk_errors(store.root):
        raise error


def test_an_error_without_words_is_put_down_to_the_disk_only_where_no_room_is_left(store, monkeypatch):
    with pytest.raises(ForeignError), disk_errors(store.root):
        raise ForeignError("file write failed")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(FtxError, match="is full"), disk_errors(store.root):
        raise ForeignError("file write failed")


def test_a_file_that_could_not_be_replaced_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "run.json"
    path.mkdir()
    with pytest.raises(OSError):
        write_atomically(path, "{}")
    assert list(tmp_path.iterdir()) == [path]
