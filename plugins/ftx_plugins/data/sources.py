"""Which files hold which split. Light: used while the plan is made, and again by the step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ftx.errors import FtxError
from ftx_plugins.data.config import DataConfig

SPLITS = ("train", "validation", "test")
HUB = "hub:"
CONLL = "conll"
"""The format of files with a token and its tag a line."""
FORMATS: Mapping[str, str] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".conll": CONLL,
}
# The words, their delimiters and the files left out are those of `datasets.data_files`.
SPLIT_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "dev", "val"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
NOT_DATA = {"config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}


@dataclass(frozen=True)
class Source:
    """Where the rows of one split come from: files of one format, in reading order, or a split of a hub data set."""

    files: tuple[Path, ...] = ()
    hub: str = ""
    split: str = "train"
    ignored: tuple[Path, ...] = ()
    """Files beside them that belong to no split."""

    @property
    def name(self) -> str:
        """For messages and the report: no folder of this machine in it."""
        if self.hub:
            return f"{HUB}{self.hub}[{self.split}]"
        return self.files[0].name if len(self.files) == 1 else f"{self.files[0].parent.name} ({len(self.files)} files)"


def find_sources(config: DataConfig) -> dict[str, Source]:
    """Split -> its source. A split's own setting wins over what is found in `train`; hub splits are not looked up.

    Raises `FtxError` for an unknown suffix, a folder without data files, or one with several formats.
    """
    sources = splits_in(config.train)
    if "train" not in sources:
        found = ", ".join(sources)
        raise FtxError(f"{config.train} holds no training rows, only {found}", "name the files to train on: data.train")
    for split, setting in (("validation", config.validation), ("test", config.test)):
        if setting:
            named = splits_in(setting)
            source = named.get(split, named.get("train"))
            if source is None:
                raise FtxError(
                    f"{setting} holds no {split} rows, only {', '.join(named)}", f"name a file: data.{split}"
                )
            sources[split] = Source(source.files, source.hub, split if source.hub else source.split, source.ignored)
    return sources


def splits_in(source: str) -> dict[str, Source]:
    """The splits of one file (`train`), one folder, or one hub id (`train`: the others are known when it is loaded)."""
    if source.startswith(HUB):
        return {"train": Source(hub=source.removeprefix(HUB))}
    path = Path(source)
    if path.is_dir():
        return _splits_in_folder(path)
    format_of(path)
    return {"train": Source((path,))}


def format_of(path: Path) -> str:
    """csv, json, jsonl, parquet or conll, by suffix; `FtxError` for any other."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        suffix = f"the suffix {path.suffix}" if path.suffix else "no suffix"
        raise FtxError(
            f"{path} has {suffix}: its format is not known",
            f"rename or convert it; ftx reads {', '.join(FORMATS)}, a folder of them, or a hub id",
        ) from None


def _splits_in_folder(folder: Path) -> dict[str, Source]:
    files = [path for path in sorted(folder.rglob("*")) if _is_data(path, folder)]
    if not files:
        raise FtxError(f"{folder} holds no data files", f"put some in: ftx reads {', '.join(FORMATS)}")
    formats = {path.suffix.lower(): path for path in files}
    if len({FORMATS[suffix] for suffix in formats}) > 1:
        examples = ", ".join(path.name for path in formats.values())
        raise FtxError(f"{folder} holds data files of several formats: {examples}", "keep one format, or name a file")
    return _by_split(files, folder)


def _is_data(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    return path.suffix.lower() in FORMATS and path.name not in NOT_DATA and not hidden and path.is_file()


def _by_split(files: list[Path], folder: Path) -> dict[str, Source]:
    by_folder = {path: _split_named(path.relative_to(folder).parts[:-1]) for path in files}
    by_name = {path: _split_named((path.stem,)) for path in files}
    # As in `datasets`: where folders name splits, the names of files do not count.
    chosen = by_folder if any(by_folder.values()) else by_name
    named = {split: tuple(path for path in files if chosen[path] == split) for split in SPLITS}
    others = tuple(path for path in files if chosen[path] is None)
    if not named["train"]:
        named["train"], others = others, ()
    return {split: Source(paths, ignored=others if split == "train" else ()) for split, paths in named.items() if paths}


def _split_named(names: Iterable[str]) -> str | None:
    words = (word for name in names for word in re.split(r"[-._ 0-9]+", name.lower()))
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)
