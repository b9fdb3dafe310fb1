"""`ftx run`."""

from __future__ import annotations

from pathlib import Path

import click

from ftx.cli import report
from ftx.cli.completing import complete_executor, complete_steps
from ftx.cli.interruption import Interruption
from ftx.cli.options import command_line, config_option, json_option, load_plugins, print_json, read_config, set_option
from ftx.console import RunConsole, cross_validation_lines, print_scoreboard
from ftx.events import Events
from ftx.planner import make_plan
from ftx.runner import RunResult, run_plan


@click.command()
@click.argument("steps", nargs=-1, shell_complete=complete_steps)
@config_option
@set_option
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors alone.")
@click.option(
    "--executor", default="local", show_default=True, shell_complete=complete_executor, help="Where steps run."
)
@click.pass_context
def run(
    context: click.Context,
    steps: tuple[str, ...],
    config_path: Path | None,
    settings: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    executor: str,
) -> None:
    """Carry out STEPS in this order, each a stage (train) or a stage's method (quantize:dynamic).

    What was done before with the same inputs is a hit, and is not done again. Data and evaluation steps are added
    where they are needed; see them with ftx plan.
    """
    plugins = load_plugins(context)
    plan = make_plan(steps, read_config(config_path, settings), plugins)
    console = RunConsole(quiet=quiet)
    with console, Interruption() as interruption:
        command = command_line("run", *steps, config_path=config_path, settings=settings)
        result = run_plan(plan, plugins, Events([console, interruption]), command=command, executor=executor)
    if result.error is not None:
        if not as_json and result.rows:
            print_scoreboard(result.rows)
        debug = bool(context.find_root().params.get("debug"))
        context.exit(report(result.error, as_json=as_json, debug=debug, document=result.to_json()))
    if as_json:
        print_json(result.to_json())
    else:
        _print_result(result, config_path)


def _print_result(result: RunResult, config_path: Path | None) -> None:
    if result.rows:
        print_scoreboard(result.rows)
    for line in cross_validation_lines(result.record.steps):
        click.echo(line)
    _print_choice(result)
    artifact = result.record.artifact
    if artifact is None:
        click.echo(f"run {result.record.id} is done")
        return
    config = f" --config {config_path}" if config_path else ""
    click.echo(f"{artifact['kind']} {artifact['digest'][:12]}: {artifact['path']}")
    click.echo("next:")
    click.echo(f'  ftx predict latest "some text"{config}')
    click.echo(f"  ftx show latest{config}    # what it is made of, and how")
    if result.rows:
        click.echo(f"  ftx show latest:evaluate:validation{config}    # which rows changed their label")


def _print_choice(result: RunResult) -> None:
    """What a step of the stage `choose` took, and why it refused others."""
    for step in result.record.steps:
        metrics = step["metrics"]
        if choice := metrics.get("choice"):
            threads = f"{choice['threads']} thread{'s' if choice['threads'] != 1 else ''}"
            click.echo(f"chosen for this machine: {choice['variant']} with {choice['runtime']}, {threads}")
            for name, why in metrics["refused"].items():
                click.echo(f"  refused: {name}: {why}")
