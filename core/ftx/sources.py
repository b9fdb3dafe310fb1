"""What ftx is given: files, folders, files inside installed packages (`pkg:`), ids on the hub, pretrained models."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ftx.artifacts import Checkpoint, FileEntry, Manifest
from ftx.errors import FtxError

PACKAGE = "pkg:"
HUB = "hub:"
MODEL_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.py", "*.jinja")
"""The files of a model folder that can matter: weights, configuration, tokenizer, and code where that is allowed."""
PICKLED_WEIGHTS = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
HEADS: Mapping[str, str] = {"text-classification": "ForSequenceClassification"}
"""Task -> how the names of architectures with a head for it end."""


def resolve_path(text: str, root: Path, *, hub: bool = False) -> Path | str:
    """The file or folder that `text` names, or, with `hub`, `hub:ID` for what is no path.

    `pkg:package/path` is found without importing the package. Raises `FtxError` where nothing is there.
    """
    if text.startswith(HUB) and hub:
        return text
    if text.startswith(PACKAGE):
        return _in_package(text)
    path = (root / Path(text).expanduser()).resolve()
    if path.exists():
        return path
    if hub and _looks_like_hub_id(text):
        return HUB + text
    hint = "give a file, a folder or pkg:package/path" + (", or an id on the hub" if hub else "")
    raise FtxError(f"{text} does not exist (looked for {path})", hint)


def _in_package(text: str) -> Path:
    package, _, inside = text.removeprefix(PACKAGE).partition("/")
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise FtxError(f"{text}: no package {package!r} is installed", f"install the package that holds {package}")
    for location in spec.submodule_search_locations:
        path = Path(location) / inside
        if path.exists():
            return path.resolve()
    raise FtxError(f"{text}: the package {package} has no {inside}", f"look into {spec.submodule_search_locations[0]}")


def _looks_like_hub_id(text: str) -> bool:
    """`name` or `owner/name`: at most one slash, and nothing that only a path has."""
    parts = text.split("/")
    is_path = text.startswith((".", "/", "~")) or "\\" in text or Path(text).suffix.lower() in _DATA_SUFFIXES
    return not is_path and len(parts) <= 2 and all(parts)


_DATA_SUFFIXES = {".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".txt", ".xlsx", ".arrow", ".gz", ".zip"}


@dataclass(frozen=True)
class ModelFolder:
    """A folder with a pretrained model: its configuration, and whether it has a trained head for the task."""

    path: Path
    config: Mapping[str, Any]
    has_head: bool

    def as_checkpoint(self, hash_of: Callable[[Path], FileEntry]) -> Checkpoint:
        """The folder as an artifact: only the files that can matter count for its digest."""
        files = {path.name: hash_of(path) for path in _model_files(self.path)}
        return Checkpoint(self.path, Manifest(kind=Checkpoint.kind, files=files))


def read_model_folder(path: Path, task: str) -> ModelFolder:
    """Look at a model folder without loading it. Raises `FtxError` for what could never be loaded, or safely so."""
    if not path.is_dir():
        raise FtxError(f"{path} is a file, not a model folder", "name the folder that holds config.json")
    if not (path / "config.json").is_file():
        raise FtxError(f"{path} is no model folder: it has no config.json", "name a folder that save_pretrained wrote")
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise FtxError(f"{path / 'config.json'} is not JSON: {error}") from None
    if not any(path.glob("*.safetensors")):
        _refuse_missing_weights(path)
    suffix = HEADS.get(task, "")
    heads = config.get("architectures") or []
    return ModelFolder(path, config, bool(suffix) and any(name.endswith(suffix) for name in heads))


def _refuse_missing_weights(path: Path) -> None:
    pickled = sorted(found.name for pattern in PICKLED_WEIGHTS for found in path.glob(pattern))
    if not pickled:
        raise FtxError(f"{path} holds no weights (no *.safetensors)", "download them, or name another folder")
    raise FtxError(
        f"{path} holds its weights as pickle ({', '.join(pickled[:3])}), which may run code when it is loaded: refused",
        "if you trust where it comes from, convert it once: "
        f"python -c \"from transformers import AutoModel; AutoModel.from_pretrained('{path}')"
        f".save_pretrained('{path}-safetensors')\", copy the tokenizer's files over, and name that folder",
    )


def _model_files(path: Path) -> list[Path]:
    return sorted({found for pattern in MODEL_FILES for found in path.glob(pattern) if found.is_file()})
