"""The page of the reference on commands, out of the commands themselves: usage, help, options with defaults."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import click

from ftx.cli import COMMANDS, cli
from ftx.markdown_table import cell

HEAD = """\
# Commands

`ftx --no-plugins COMMAND` loads no plugin of a third party, `ftx --debug COMMAND` shows the traceback of an error.
Plugins may add commands; those that ftx brings are below. A REF is a folder, the beginning of a digest, or
`latest:STAGE`.

| exit code | |
|---|---|
| 0 | done |
| 1 | a step failed |
| 2 | something for you to change: usage, plan, data |
| 3 | the budget is broken |
| 130 | interrupted |
"""


def command_docs() -> str:
    """The whole page, as Markdown."""
    root = click.Context(cli, info_name="ftx")
    commands = [(name, cli.get_command(root, name)) for name in COMMANDS]
    table = [
        "| command | |",
        "|---|---|",
        *(f"| [`ftx {name}`](#ftx-{name}) | {COMMANDS[name][1]} |" for name in COMMANDS),
    ]
    parts = [part for name, command in commands if command is not None for part in _command(command, name, root, 2)]
    return "\n".join([HEAD, *table, "", *parts])


def _command(command: click.Command, name: str, parent: click.Context, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    path = context.command_path
    yield f"{'#' * level} {path} {{#{path.replace(' ', '-')}}}\n"
    yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```\n"
    yield f"{_help(command)}\n"
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    if options:
        rows = [_option(option, context) for option in options]
        yield "\n".join(["| option | | default |", "|---|---|---|", *rows, ""])
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            if (found := command.get_command(context, inner)) is not None:
                yield from _command(found, inner, context, level + 1)


def _help(command: click.Command) -> str:
    """Its paragraphs; what is between a `\\b` and the next blank line keeps its lines."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "\n\n".join(
        f"```text\n{inspect.cleandoc(text[1:])}\n```" if text.startswith("\b") else text for text in paragraphs
    )


def _option(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f" `{option.make_metavar(context)}`"
    said, default = _help_and_default(option, context)
    return f"| {names}{cell(value)} | {cell(said)} | {cell(default)} |"


def _help_and_default(option: click.Option, context: click.Context) -> tuple[str, str]:
    """What it does, and its default where the help tells one: most flags are off, most values not set.

    Where a default is not a value the help says it in words, in brackets at its end.
    """
    said, _, words = (option.help or "").partition("  [default: ")
    if words:
        return said, words.removesuffix("]")
    default: Any = option.get_default(context) if option.show_default else None
    return said, "" if default is None else f"`{default}`"
