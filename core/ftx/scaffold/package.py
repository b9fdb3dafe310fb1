"""Writing a new plugin's package from the template beside this module."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from ftx.config import TABLES
from ftx.errors import FtxError
from ftx.planner import STAGES

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_RESERVED = ("ftx", "ftx-toolchain", "ftx-plugins", "ftx-serving", "ftx-loadtests")


@dataclass(frozen=True)
class PackageNames:
    """What the parts of a new plugin are called."""

    distribution: str
    """What pip installs, such as `ftx-rounding`."""
    module: str
    """What Python imports, such as `ftx_rounding`."""
    stage: str
    """The stage of its step, and the name of the plugin: `rounding`."""

    @property
    def config_class(self) -> str:
        return "".join(part.capitalize() for part in self.stage.split("_")) + "Config"


def names_of(name: str) -> PackageNames:
    """The names that follow from the one given; `FtxError` for one that pip or Python would not take."""
    if not _NAME.fullmatch(name):
        proposal = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789") or "ftx-example"
        raise FtxError(
            f"{name!r} is no name for a plugin: lower-case letters, digits and single hyphens, a letter first",
            f"ftx plugins new {proposal}",
        )
    stage = name.removeprefix("ftx-").replace("-", "_")
    if name in _RESERVED or stage in (*STAGES, *TABLES) or keyword.iskeyword(stage) or not stage.isidentifier():
        raise FtxError(f"{name} is a name that is taken, by ftx or by Python", f"ftx plugins new ftx-my-{stage}")
    return PackageNames(name, name.replace("-", "_"), stage)


def write_package(name: str, parent: Path) -> Path:
    """A package called `name` in a new folder of that name below `parent`; returns the folder."""
    names = names_of(name)
    folder = parent / name
    if folder.exists():
        raise FtxError(
            f"{folder} exists already; nothing was written", f"choose another folder: ftx plugins new {name} --dir DIR"
        )
    values = {
        "distribution": names.distribution,
        "module": names.module,
        "stage": names.stage,
        "config_class": names.config_class,
    }
    try:
        _write(resources.files("ftx.scaffold") / "template", folder, values)
    except OSError as error:
        raise FtxError(f"{folder} cannot be written: {error.strerror}", "choose another folder: --dir DIR") from error
    return folder


def _write(source: Traversable, target: Path, values: dict[str, str]) -> None:
    target.mkdir(parents=True)
    for entry in sorted(source.iterdir(), key=lambda entry: entry.name):
        name = entry.name.removesuffix(".tmpl").replace("package", values["module"])
        if entry.is_dir():
            _write(entry, target / name, values)
        else:
            text = Template(entry.read_text(encoding="utf-8")).substitute(values)
            (target / name).write_text(text, encoding="utf-8")
