"""`ftx steps`."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ftx.artifacts import Artifact
from ftx.cli.completing import complete_steps
from ftx.cli.options import json_option, load_plugins, print_json
from ftx.config import Config
from ftx.errors import FtxError
from ftx.plugins import PluginManager
from ftx.schema import step_schema, type_name
from ftx.step import Kind, Step
from ftx.step_settings import find_step


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def steps(context: click.Context, as_json: bool) -> None:
    """List every step that is installed, built-in or from a plugin."""
    if context.invoked_subcommand is not None:
        return
    plugins = load_plugins(context)
    found = sorted(plugins.steps().values(), key=lambda step: step.full_name)
    if as_json:
        print_json([_as_json(step, plugins) for step in found])
        return
    table = Table(box=None, pad_edge=False)
    for column in ("step", "takes", "gives", "what it does", "from"):
        table.add_column(column, no_wrap=column in ("step", "gives"))
    for step in found:
        name = f"{step.full_name}{' *' if step.default else ''}"
        takes = ", ".join(_kind(kind) for kind in step.takes.values())
        table.add_row(name, takes, _gives(step), step.summary, plugins.origin(step).distribution)
    Console(highlight=False).print(table)
    click.echo("* is what the bare name of the stage means. Settings of a step: ftx steps show STEP")


@steps.command()
@click.argument("step", shell_complete=complete_steps)
@json_option
@click.option("--schema", is_flag=True, help="Print the JSON Schema (draft 2020-12) of its settings.")
@click.pass_context
def show(context: click.Context, step: str, as_json: bool, schema: bool) -> None:
    """Show STEP with its settings: type, default, what each means."""
    from pathlib import Path

    plugins = load_plugins(context)
    found = find_step(step, Config(Path.cwd(), None), plugins)
    if not isinstance(found, Step):
        raise FtxError(found.message, *found.hints)
    if schema:
        print_json(step_schema(found, plugins))
        return
    if as_json:
        print_json(_as_json(found, plugins))
        return
    click.echo(f"{found.full_name}: {found.summary}")
    for name, kind in found.takes.items():
        click.echo(f"  takes {name}: {_kind(kind)}")
    click.echo(f"  gives {_gives(found)}")
    click.echo(f"  needs {', '.join(found.requires) or 'nothing more'}")
    click.echo(f"\n[{found.stage}]")
    described = found.config.model_json_schema().get("properties", {})
    for name, field in found.config.model_fields.items():
        default = "(must be set)" if field.is_required() else repr(field.default)
        click.echo(f"  {name}: {type_name(described[name])} = {default}")
        click.echo(f"      {field.description or ''}")


def _as_json(step: Step, plugins: PluginManager) -> dict[str, Any]:
    origin = plugins.origin(step)
    return {
        "step": step.full_name,
        "stage": step.stage,
        "summary": step.summary,
        "default": step.default,
        "takes": {name: _kind(kind) for name, kind in step.takes.items()},
        "gives": _gives(step),
        "requires": step.requires,
        "version": step.version,
        "plugin": {"name": origin.name, "distribution": origin.distribution, "version": origin.version},
        "settings": step.config.model_json_schema(),
    }


def _kind(kind: Kind) -> str:
    if isinstance(kind, type) and issubclass(kind, Artifact):
        return kind.kind
    members = getattr(kind, "__args__", ())
    return " or ".join(member.kind if member is not type(None) else "nothing" for member in members)


def _gives(step: Step) -> str:
    if step.gives == "model":
        return "what model is"
    return step.gives.kind if step.gives else "nothing"
