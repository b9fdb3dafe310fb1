"""Options that several commands share, and JSON on stdout."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ftx.cli.completing import complete_setting
from ftx.config import Config, load_config
from ftx.config import open_store as open_store
from ftx.plugins import PluginManager

Function = TypeVar("Function", bound=Callable[..., Any])


def config_option(function: Function) -> Function:
    return click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        envvar="FTX_CONFIG",
        help="The project's file.  [default: ./ftx.toml]",
    )(function)


def set_option(function: Function) -> Function:
    return click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        shell_complete=complete_setting,
        help="Override a setting: train.learning_rate=3e-5.",
    )(function)


def json_option(function: Function) -> Function:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(function)


def read_config(config_path: Path | None, settings: tuple[str, ...] = ()) -> Config:
    return load_config(config_path, settings=settings, environment=os.environ)


def load_plugins(context: click.Context, *, strict: bool | None = None) -> PluginManager:
    return PluginManager.load(third_party=not context.find_root().params.get("no_plugins"), strict=strict)


def command_line(*words: str, config_path: Path | None, settings: tuple[str, ...]) -> str:
    """What to type to run the same command again, with its project and its settings."""
    parts = ["ftx", *words]
    if config_path:
        parts += ["--config", str(config_path)]
    for setting in settings:
        parts += ["--set", setting]
    return shlex.join(parts)


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))
