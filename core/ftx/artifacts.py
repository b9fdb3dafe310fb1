"""Artifacts: read-only folders with a `manifest.json`, and the kinds that steps take and give."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ftx.errors import FtxError

MANIFEST = "manifest.json"
MANIFEST_SCHEMA = 1


@dataclass(frozen=True)
class FileEntry:
    """One file of an artifact: its sha256 in hex and its size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """What an artifact is, how it was made, and the hash of each of its files.

    `digest` covers `kind`, `files` and `meta`: what the artifact *is*. The rest tells how it came about and changes
    nothing about its identity.
    """

    kind: str
    files: Mapping[str, FileEntry]
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Facts about this kind of artifact: label names, a quantization recipe, a bundle's variants."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    step: str = ""
    """The step that made it, `stage:method`; empty for a folder that ftx was given."""
    key: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Input name -> digest."""
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    seconds: float = 0.0
    schema: int = MANIFEST_SCHEMA

    @property
    def digest(self) -> str:
        identity = {
            "kind": self.kind,
            "files": {name: asdict(entry) for name, entry in self.files.items()},
            "meta": self.meta,
        }
        return hashlib.sha256(canonical_json(identity).encode()).hexdigest()

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "digest": self.digest}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of the artifact in `folder`; `FtxError` if there is none that this version reads."""
        path = folder / MANIFEST
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            digest = raw.pop("digest")
            if raw["schema"] > MANIFEST_SCHEMA:
                raise FtxError(f"{path} was written by a newer ftx", "upgrade: pip install -U ftx-toolchain")
            raw["files"] = {name: FileEntry(**entry) for name, entry in raw["files"].items()}
            manifest = cls(**raw)
        except FileNotFoundError:
            raise FtxError(
                f"{folder} holds no artifact: {MANIFEST} is missing", "list what there is: ftx cache ls"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FtxError(f"{path} is damaged: {error!r}", "check the store: ftx cache verify") from error
        if manifest.digest != digest:
            raise FtxError(f"{path} was changed after it was written", "check the store: ftx cache verify")
        return manifest


@dataclass(frozen=True)
class Artifact:
    """A read-only folder that a step made, or that ftx was given. Subclasses are the kinds."""

    path: Path
    manifest: Manifest

    kind: ClassVar[str] = "artifact"

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def meta(self) -> Mapping[str, Any]:
        return self.manifest.meta


class Dataset(Artifact):
    """Cleaned rows in splits, `train.arrow`, `validation.arrow` and `test.arrow`, with `report.json`.

    Each split is an Arrow IPC stream (`datasets.Dataset.from_file` maps it into memory) with the columns `text`,
    `text_pair` (only for pairs), `label` (int64, an index into `meta["labels"]`) and `row` (int64, the row's place
    in the source, from 0). `meta["task"]` says for which task: in multi-label `label` is a list of indices, in
    regression a float64, in token classification a list of entities, each a list of start, end (in characters of
    the text, exclusive) and type; these have a column `stratum` (int64) too, by which samples are drawn in proportion.
    Where a step has added training rows, `train.arrow` has the column `origin` too: the method that made the row out of
    the one whose `row` it has, or an empty string for a row of the source.
    """

    kind = "dataset"


class Checkpoint(Artifact):
    """A Hugging Face model folder: `config.json`, `model.safetensors`, tokenizer.

    A recipe for quantization, if any, is in `meta["recipe"]`.
    """

    kind = "checkpoint"


class Bundle(Artifact):
    """All that a server needs: variants of the model, tokenizer, labels, golden examples."""

    kind = "bundle"


class Evaluation(Artifact):
    """What an `evaluate` step measured: `evaluation.json`, and `flips.csv` with the rows whose label changed."""

    kind = "evaluation"


class LoadTest(Artifact):
    """What a `loadtest` step measured."""

    kind = "loadtest"


KINDS: Mapping[str, type[Artifact]] = {kind.kind: kind for kind in (Dataset, Checkpoint, Bundle, Evaluation, LoadTest)}


def open_artifact(folder: Path) -> Artifact:
    """The artifact in `folder`, as its kind (a plugin's own kind comes as `Artifact`). Hashes are not checked."""
    manifest = Manifest.read(folder)
    return KINDS.get(manifest.kind, Artifact)(folder, manifest)


def canonical_json(value: Any) -> str:
    """One text for equal values: sorted keys, no white space. Not for NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
