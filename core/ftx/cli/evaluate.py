"""`ftx eval`."""

from __future__ import annotations

from pathlib import Path

import click

from ftx.artifacts import Bundle, Checkpoint
from ftx.cli import report
from ftx.cli.completing import complete_classifier
from ftx.cli.options import (
    command_line,
    config_option,
    json_option,
    load_plugins,
    open_store,
    print_json,
    read_config,
    set_option,
)
from ftx.console import RunConsole, print_scoreboard
from ftx.errors import FtxError
from ftx.events import Events
from ftx.planner import plan_evaluation
from ftx.runner import run_plan
from ftx.runs import find_artifact, trained_ancestor


@click.command("eval")
@click.argument("reference", metavar="REF", shell_complete=complete_classifier)
@config_option
@set_option
@json_option
@click.option("--split", type=click.Choice(["validation", "test"]), default="test", show_default=True)
@click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors alone.")
@click.pass_context
def evaluate(
    context: click.Context,
    reference: str,
    config_path: Path | None,
    settings: tuple[str, ...],
    as_json: bool,
    split: str,
    quiet: bool,
) -> None:
    """Measure REF, a bundle or a checkpoint, on the project's data: quality, changed labels, latency, size.

    To measure on another file: --set data.test=FILE.
    """
    config = read_config(config_path, settings)
    store = open_store(config)
    subject = find_artifact(reference, store)
    if not isinstance(subject, Bundle | Checkpoint):
        raise FtxError(f"{reference} is a {subject.kind}", "name a bundle or a checkpoint: ftx eval latest:export")
    plugins = load_plugins(context)
    plan = plan_evaluation(subject, trained_ancestor(subject, store), f"evaluate:{split}", config, plugins)
    with RunConsole(quiet=quiet) as console:
        command = command_line("eval", reference, "--split", split, config_path=config_path, settings=settings)
        result = run_plan(plan, plugins, Events([console]), command=command)
    if result.error is not None:
        context.exit(report(result.error, as_json=as_json, document=result.to_json()))
    if as_json:
        print_json(result.to_json())
    else:
        print_scoreboard(result.rows)
