"""`ftx sweep`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ftx.cli import report
from ftx.cli.completing import complete_steps
from ftx.cli.interruption import Interruption
from ftx.cli.options import command_line, config_option, json_option, load_plugins, print_json, set_option
from ftx.config import parse_value
from ftx.console import FULL_WIDTH, RunConsole, print_scoreboard
from ftx.errors import FtxError
from ftx.events import Listener
from ftx.ranks import this_place
from ftx.sweep.space import as_settings
from ftx.sweep.sweep import SweepResult, Terms, Watcher, carry_out, plan_sweep
from ftx.sweep.trials import Trial


@click.command()
@click.argument("steps", nargs=-1, shell_complete=complete_steps)
@config_option
@set_option
@click.option("--trials", type=click.IntRange(min=1), default=20, show_default=True, help="How many to try in all.")
@click.option(
    "--objective",
    help="The figure to make best: accuracy, f1_macro, loss, p95_ms, rows_per_second …  [default: train.metric]",
)
@click.option(
    "--early-stop/--no-early-stop",
    default=True,
    show_default=True,
    help="Stop a trial that is worse after an epoch than the median of the others were.",
)
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors alone.")
@click.pass_context
def sweep(
    context: click.Context,
    steps: tuple[str, ...],
    config_path: Path | None,
    settings: tuple[str, ...],
    trials: int,
    objective: str | None,
    early_stop: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Carry out STEPS with other settings again and again, and find the best.

    \b
    --set 'train.learning_rate=1e-5..1e-4:log'   a range, on a logarithmic scale
    --set 'train.epochs=1..4'                    whole numbers
    --set 'train.loss=cross-entropy|focal'       one of these
    --set train.batch_size=16                    the same in every trial

    Each trial is a run, held against the budget. The same command goes on with what is left of its trials, or ends
    with the best at once; with more --trials it searches on.
    """
    if this_place().size > 1:
        raise FtxError("a sweep is carried out by one process", "start it without torchrun or accelerate launch")
    plugins = load_plugins(context)
    words = ("sweep", *steps, *_options(trials, objective, early_stop))
    terms = plan_sweep(
        steps,
        config_path,
        settings,
        objective=objective,
        trials=trials,
        stop_early=early_stop,
        plugins=plugins,
        command=command_line(*words, config_path=config_path, settings=settings),
    )
    with Interruption() as interruption:
        result = carry_out(terms, plugins, _watcher(interruption, quiet))
    document = _describe(result, terms)
    if not as_json:
        _print_result(result, terms, document)
    if result.error is not None:
        debug = bool(context.find_root().params.get("debug"))
        context.exit(report(result.error, as_json=as_json, debug=debug, document=document))
    if as_json:
        print_json(document)


def _options(trials: int, objective: str | None, early_stop: bool) -> list[str]:
    chosen = ["--objective", objective] if objective else []
    return ["--trials", str(trials), *chosen, *([] if early_stop else ["--no-early-stop"])]


def _watcher(interruption: Interruption, quiet: bool) -> Watcher:
    def started(trial: Trial, total: int) -> None:
        if not quiet:
            click.secho(f"trial {trial.number} of {total}: {' '.join(as_settings(trial.values))}", bold=True, err=True)

    def finished(trial: Trial) -> None:
        if not quiet:
            click.echo(f"trial {trial.number}: {_outcome(trial)}", err=True)

    @contextmanager
    def listen() -> Iterator[Sequence[Listener]]:
        with RunConsole(quiet=quiet) as console:
            yield [console, interruption]

    return Watcher(started, finished, listen)


def _describe(result: SweepResult, terms: Terms) -> dict[str, Any]:
    """The result as JSON, with the best settings for ftx.toml, and the command that runs them."""
    document = result.to_json()
    if result.best is not None:
        settings = (*terms.asked.fixed, *as_settings(result.best.values))
        command = command_line("run", *terms.words, config_path=terms.config_path, settings=settings)
        document["best"] |= {"toml": as_toml(result.best.values), "command": command}
    return document


def as_toml(values: Mapping[str, str]) -> str:
    """Settings as lines of ftx.toml."""
    tables: dict[str, list[str]] = {}
    for key, text in values.items():
        table, _, name = key.rpartition(".")
        literal = json.dumps(text, ensure_ascii=False) if parse_value(text) == text else text
        tables.setdefault(table, []).append(f"{name} = {literal}")
    # What belongs to no table stands first: behind a table it would belong to that one.
    return "\n".join(
        "\n".join([*([f"[{table}]"] if table else []), *lines])
        for table, lines in sorted(tables.items(), key=lambda item: item[0] != "")
    )


def _print_result(result: SweepResult, terms: Terms, document: Mapping[str, Any]) -> None:
    if result.trials:
        _print_trials(result)
    if result.best is None or result.run is None or result.error is not None:
        return
    if result.run.rows:
        print_scoreboard(result.run.rows)
    click.echo(f"best: trial {result.best.number}, {_figure(result.best, result.objective.name)}; for ftx.toml:\n")
    click.echo(document["best"]["toml"])
    click.echo("\nit is the latest run; to carry it out again:")
    click.echo(f"  {document['best']['command']}")


def _print_trials(result: SweepResult) -> None:
    objective = result.objective
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = FULL_WIDTH
    aim = "least" if objective.minimize else "most"
    table = Table(title=f"trials by {objective.name}, {aim} is best", title_justify="left", box=SIMPLE_HEAD)
    keys = list(result.trials[0].values)
    for title in ("", "trial", objective.name, *keys, "outcome", "run"):
        table.add_column(title, justify="right" if title in ("trial", objective.name) else "left")
    for trial in _ranked(result):
        mark = "*" if result.best is not None and trial.number == result.best.number else ""
        figure = "–" if trial.figure is None else f"{trial.figure:.4f}"
        cells = [mark, str(trial.number), figure, *(trial.values[key] for key in keys), _outcome(trial)]
        table.add_row(*map(escape, cells), trial.run or "–")
    console.print(table)


def _ranked(result: SweepResult) -> list[Trial]:
    """What is best first; then those beyond the budget, the nearest first; then the others."""
    sign = 1 if result.objective.minimize else -1
    order = ("done", "budget")

    def rank(trial: Trial) -> tuple[float, float, float, int]:
        place = order.index(trial.state) if trial.state in order else len(order)
        figure = sign * trial.figure if trial.figure is not None else float("inf")
        return place, trial.excess, figure, trial.number

    return sorted(result.trials, key=rank)


def _outcome(trial: Trial) -> str:
    first = trial.note.partition("\n")[0]
    if trial.state == "budget":
        share = f" by {trial.excess:.0%}" if 1e-4 <= trial.excess < 100 else ""
        return f"budget broken{share}"
    if trial.state == "stopped":
        return f"stopped after epoch {max(trial.epochs, default=0)}"
    if trial.state == "failed":
        return f"failed: {first}"
    return "done" if trial.state == "done" else "interrupted"


def _figure(trial: Trial, name: str) -> str:
    return f"{name} {trial.figure:.4f}" if trial.figure is not None else name
