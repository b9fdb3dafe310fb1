"""The JSON Schema beside an ftx.toml, and the line in ftx.toml that editors find it by."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ftx.errors import FtxError
from ftx.plugins import PluginManager
from ftx.schema import WRITTEN_BY, project_schema
from ftx.store import write_atomically

DIRECTIVE = "#:schema "
"""Source: https://taplo.tamasfe.dev/configuration/directives.html"""


def schema_path(config: Path) -> Path:
    """`ftx.schema.json` for `ftx.toml`."""
    return config.with_suffix(".schema.json")


def directive(schema: Path) -> str:
    """The first line of an ftx.toml beside which `schema` lies."""
    return f"{DIRECTIVE}./{schema.name}\n"


def schema_text(plugins: PluginManager) -> str:
    """The schema of ftx.toml as it is written; a stage that cannot be described is warned about."""
    schema, gaps = project_schema(plugins)
    for gap in gaps:
        click.secho(f"warning: {gap}", fg="yellow", err=True)
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write_schema(config: Path, plugins: PluginManager) -> Path:
    """Write the schema for `config` beside it; `FtxError` where a file lies there that ftx did not write."""
    path = schema_path(config)
    if path.exists() and WRITTEN_BY not in path.read_text(encoding="utf-8", errors="replace"):
        raise FtxError(f"{path} is there already, and ftx did not write it", f"move it: mv {path} {path}.old")
    write_atomically(path, schema_text(plugins))
    return path


def name_schema(config: Path, schema: Path) -> bool:
    """Put the directive at the top of `config`, unless it has one; returns whether it was put there."""
    try:
        text = config.read_bytes().decode("utf-8")  # not read_text: line ends stay as they are
    except UnicodeDecodeError as error:
        raise FtxError(f"{config} is not TOML: {error}", "see https://toml.io for the syntax") from None
    if any(line.startswith(DIRECTIVE) for line in text.splitlines()):
        return False
    write_atomically(config, directive(schema) + text)
    return True
