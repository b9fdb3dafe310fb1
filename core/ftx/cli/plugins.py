"""`ftx plugins`, with `new` and `check` in modules of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from ftx.cli.options import json_option, load_plugins, print_json
from ftx.cli.plugins_check import check
from ftx.cli.plugins_new import new
from ftx.plugins import SLOW_IMPORT_MS


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def plugins(context: click.Context, as_json: bool) -> None:
    """List the plugins that are installed: what each adds, how long its import takes, what is broken."""
    if context.invoked_subcommand is not None:
        return
    # Not strict: this is what FTX_STRICT_PLUGINS sends the user to.
    manager = load_plugins(context, strict=False)
    added: dict[str, list[str]] = {}
    registries: dict[str, Mapping[str, Any]] = {
        "": manager.steps(),
        "runtime ": manager.runtimes(),
        "metric ": manager.all_metrics(),
        "architecture ": manager.architectures(),
        "translator ": manager.translators(),
        "command ": manager.commands(),
        "executor ": {name: found for name, found in manager.executors().items() if name != "local"},
    }
    for what, registry in registries.items():
        for name, value in registry.items():
            added.setdefault(manager.origin(value).name, []).append(what + name)
    if as_json:
        listed = [{**asdict(info), "adds": added.get(info.name, [])} for info in manager.infos]
        problems = [str(problem) for problem in manager.problems]
        print_json({"plugins": listed, "problems": problems, "blocked": manager.blocked})
        return
    for info in manager.infos:
        where = "built in" if info.built_in else f"{info.distribution} {info.version}"
        slow = f"  slow to import: {info.milliseconds:.0f} ms" if _is_slow(info.milliseconds, info.built_in) else ""
        click.echo(f"{info.name} ({where}): {', '.join(added.get(info.name, [])) or 'nothing'}{slow}")
        if info.error:
            click.secho(f"  broken: {info.error}", fg="red")
            click.echo(f"  → {info.repair}")
        for deprecated in info.deprecations:
            click.secho(f"  deprecated: {deprecated}", fg="yellow")
    for name, reason in manager.blocked.items():
        click.echo(f"{name}: not loaded ({reason})")
    for problem in manager.problems:
        click.secho(f"{problem}", fg="red")
        for hint in problem.hints:
            click.echo(f"  → {hint}")


def _is_slow(milliseconds: float, built_in: bool) -> bool:
    # The first built-in plugin pays for pydantic's import; that is ours, not its.
    return milliseconds > SLOW_IMPORT_MS and not built_in


plugins.add_command(new)
plugins.add_command(check)
