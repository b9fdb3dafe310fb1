"""Which plugins are installed (entry-point group `ftx`), found without importing any of them.

Each distribution is read in its own try: `importlib.metadata.entry_points` fails as a whole where one package's
metadata is damaged, and would take ftx with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ENTRY_POINTS = "ftx"


@dataclass(frozen=True)
class PluginInfo:
    """A plugin that was found: where it comes from, how long its import took, and why it is not in use, if so."""

    name: str
    module: str
    distribution: str
    version: str
    built_in: bool = False
    milliseconds: float = 0.0
    error: str = ""
    deprecations: tuple[str, ...] = ()
    """Old names that it uses, with the new ones."""

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"

    @property
    def repair(self) -> str:
        """The line that makes a broken plugin whole, or does without it."""
        if self.built_in:
            return f"pip install --force-reinstall {self.distribution}"
        return f"pip install --upgrade {self.distribution}, or go without it: FTX_PLUGINS=-{self.name} ftx …"


@dataclass(frozen=True)
class Selection:
    """Which plugins of third parties may load, by the name of the plugin or of its distribution.

    `FTX_PLUGINS` holds them, comma-separated: only those load; a name behind `-` is blocked instead. Empty: none.
    """

    only: frozenset[str]
    blocked: frozenset[str]
    none: bool = False

    @classmethod
    def parse(cls, setting: str | None) -> Selection:
        names = [name.strip() for name in (setting or "").split(",") if name.strip()]
        only = frozenset(name for name in names if not name.startswith("-"))
        blocked = frozenset(name[1:].strip() for name in names if name.startswith("-"))
        return cls(only, blocked, none=setting is not None and not names)

    def admits(self, info: PluginInfo) -> bool:
        names = {info.name, info.distribution}
        return not self.none and not names & self.blocked and (not self.only or bool(names & self.only))


def find_plugins() -> list[PluginInfo]:
    """Every plugin of an installed package, by name; what is wrong with its package's metadata is in `error`."""
    seen: set[str] = set()
    found: list[PluginInfo] = []
    for distribution in metadata.distributions():
        plugins = list(_read(distribution))
        # Of a package that is on the path twice, the first is the one that Python imports.
        if plugins and plugins[0].distribution not in seen:
            seen.add(plugins[0].distribution)
            found += plugins
    return sorted(found, key=lambda info: (info.name, info.distribution))


def _read(distribution: metadata.Distribution) -> Iterator[PluginInfo]:
    try:
        text = distribution.read_text("entry_points.txt") or ""
    except (OSError, UnicodeDecodeError):
        return  # whether it holds a plugin at all cannot be told
    if f"[{ENTRY_POINTS}]" not in text:
        return
    folder = _folder_name(distribution)
    name, version = _attempt(lambda: distribution.name) or folder, _attempt(lambda: distribution.version) or "?"
    try:
        points = list(distribution.entry_points.select(group=ENTRY_POINTS))
    except Exception as error:
        yield PluginInfo(folder, "", name, version, error=f"entry_points.txt is damaged: {error}")
        return
    for point in points:
        damaged = "" if version != "?" else f"METADATA of its package {folder} is damaged: it has no version"
        yield PluginInfo(point.name, point.value, name, version, error=damaged)


def _attempt(read: Callable[[], str]) -> str | None:
    """What `read` gives, or None: a missing METADATA is a TypeError in one version of Python, a KeyError in another."""
    try:
        return read()
    except Exception:
        return None


def _folder_name(distribution: metadata.Distribution) -> str:
    """`ftx_cluster` of `ftx_cluster-2.1.dist-info`, for a package whose metadata does not say its name."""
    path = getattr(distribution, "_path", None)
    return Path(str(path)).name.partition("-")[0] if path is not None else "?"
