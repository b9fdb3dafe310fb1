"""`ftx run`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ftx.cli import report
from ftx.cli.completing import complete_executor, complete_steps
from ftx.cli.interruption import Interruption
from ftx.cli.options import command_line, config_option, json_option, load_plugins, print_json, read_config, set_option
from ftx.console import RunConsole, cross_validation_lines, print_scoreboard
from ftx.errors import FtxError
from ftx.events import Events
from ftx.planner import make_plan
from ftx.ranks import launch, this_place
from ftx.runner import RunResult, run_plan
from ftx.step import Executor, load_by_name

TOGETHER = "ftx_plugins.train.processes"
PARALLEL = Executor("together", "in several processes", f"{TOGETHER}:execute")


@click.command()
@click.argument("steps", nargs=-1, shell_complete=complete_steps)
@config_option
@set_option
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors alone.")
@click.option(
    "--executor", default="local", show_default=True, shell_complete=complete_executor, help="Where steps run."
)
@click.option(
    "--processes",
    type=click.IntRange(min=1, max=1024),
    default=1,
    show_default=True,
    help="Train in this many processes on this machine, each with its share of every batch.",
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
    processes: int,
) -> None:
    """Carry out STEPS in this order, each a stage (train) or a stage's method (quantize:dynamic).

    What was done before with the same inputs is a hit, and is not done again. Data and evaluation steps are added
    where they are needed; see them with ftx plan.
    """
    plugins = load_plugins(context)
    place = this_place()
    count = place.size if place.size > 1 else processes
    plan = make_plan(steps, read_config(config_path, settings), plugins, processes=count)
    options = ("--processes", str(processes)) if processes > 1 else ()
    command = command_line("run", *steps, *options, config_path=config_path, settings=settings)
    if count > 1 and executor != "local":
        raise FtxError(f"several processes train by themselves, and --executor {executor} elsewhere", "leave one out")
    if processes > 1 and place.size == 1:
        context.exit(launch(_arguments(context, command, as_json=as_json, quiet=quiet), processes, command))
    if place.size > 1:
        load_by_name(f"{TOGETHER}:connect")(plan.device)
    if not place.leads:
        load_by_name(f"{TOGETHER}:follow")(plugins)
        return
    parallel = PARALLEL if place.size > 1 else None
    console = RunConsole(quiet=quiet)
    with console, Interruption() as interruption:
        events = Events([console, interruption])
        result = run_plan(plan, plugins, events, command=command, executor=executor, parallel=parallel)
    if parallel is not None:
        load_by_name(f"{TOGETHER}:dismiss")()
    if result.error is not None:
        if not as_json and result.rows:
            print_scoreboard(result.rows)
        debug = bool(context.find_root().params.get("debug"))
        context.exit(report(result.error, as_json=as_json, debug=debug, document=result.to_json()))
    if as_json:
        print_json(result.to_json())
    else:
        _print_result(result, config_path)


def _arguments(context: click.Context, command: str, *, as_json: bool, quiet: bool) -> list[str]:
    """What each of several processes is called with."""
    root = context.find_root().params
    before = [*(["--debug"] if root.get("debug") else []), *(["--no-plugins"] if root.get("no_plugins") else [])]
    return [*before, *shlex.split(command)[1:], *(["--json"] if as_json else []), *(["--quiet"] if quiet else [])]


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
