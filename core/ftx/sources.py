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
from ftx.tasks import task_of_head

PACKAGE = "pkg:"
HUB = "hub:"
MODEL_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.py", "*.jinja")
"""The files of a model folder that can matter: weights, configuration, tokenizer, and code where that is allowed."""
PICKLED_WEIGHTS = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model", "*.tokenizer", "bpe.codes", "byte_maps.json")
WITHOUT_VOCABULARY = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer")
"""Tokenizers that are all code."""


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
    config = _read_config(path / "config.json")
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        _refuse_missing_weights(path)
    for file in weights:
        _check_weights(file)
    _require_vocabulary(path)
    return ModelFolder(path, config, task_of_head(config) == task)


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


def _read_config(path: Path) -> Mapping[str, Any]:
    hint = "get the file again, from where the model came from"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FtxError(f"{path} is not JSON: {error}", hint) from None
    if not isinstance(config, dict) or not config.get("model_type"):
        raise FtxError(f"{path} names no model_type, so it is no configuration of transformers", hint)
    return config


def _check_weights(file: Path) -> None:
    """Raise `FtxError` for weights that are not whole, by their header alone.

    A safetensors file is the header's length (8 bytes, little-endian), the header (JSON), and the data that it tells
    of: https://github.com/huggingface/safetensors#format
    """
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        if start == b"version ":
            raise FtxError(f"{file} is a pointer of Git LFS, not the weights", "fetch them: git lfs pull")
        length = int.from_bytes(start, "little")
        header = opened.read(length) if length < size else b""
    try:
        tensors = {name: tensor for name, tensor in json.loads(header).items() if name != "__metadata__"}
        end = 8 + length + max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise FtxError(f"{file} is damaged: it has no header of safetensors", "download it again") from None
    if end != size:
        raise FtxError(f"{file} is damaged: it should have {end} bytes, and has {size}", "download it again")


def _require_vocabulary(path: Path) -> None:
    """Raise `FtxError` where no tokenizer is: transformers would make one that knows no word, and say nothing."""
    if any(any(path.glob(pattern)) for pattern in VOCABULARIES):
        return
    config = path / "tokenizer_config.json"
    if not config.is_file() or not any(name in config.read_text(encoding="utf-8") for name in WITHOUT_VOCABULARY):
        raise FtxError(
            f"{path} holds no tokenizer (no tokenizer.json, vocab.txt, *.model or the like)",
            "copy the tokenizer's files into it, from where the model came from",
        )


def _model_files(path: Path) -> list[Path]:
    return sorted({found for pattern in MODEL_FILES for found in path.glob(pattern) if found.is_file()})
