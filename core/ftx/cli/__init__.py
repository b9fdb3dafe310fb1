"""The command line. Commands are imported when they are called: `ftx --help` needs neither pydantic nor rich."""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import click

from ftx.errors import Bug, ExitCode, FtxError
from ftx.plugins import PluginManager, own_version
from ftx.step import load_by_name

COMMANDS: Mapping[str, tuple[str, str]] = {
    "init": ("ftx.cli.init:init", "Write an ftx.toml to start from"),
    "run": ("ftx.cli.run:run", "Carry out steps: ftx run train quantize export"),
    "plan": ("ftx.cli.plan:plan", "Show what a run would do, and every problem with it"),
    "predict": ("ftx.cli.predict:predict", "Classify texts with a bundle or a checkpoint"),
    "eval": ("ftx.cli.evaluate:evaluate", "Measure a bundle or a checkpoint on labelled data"),
    "bench": ("ftx.cli.bench:bench", "Measure a bundle's variants on this machine"),
    "compare": ("ftx.cli.compare:compare", "Say which of two models is better, or that the rows cannot tell"),
    "show": ("ftx.cli.show:show", "Show an artifact or a run"),
    "runs": ("ftx.cli.runs:runs", "List the runs of this project"),
    "steps": ("ftx.cli.steps:steps", "List the steps, or show one with its settings"),
    "plugins": ("ftx.cli.plugins:plugins", "List what is installed, and what is broken"),
    "cache": ("ftx.cli.cache:cache", "List, clean and check the store"),
    "doctor": ("ftx.cli.doctor:doctor", "Look at this machine and this installation"),
}
"""Name -> import string and summary."""


class LazyGroup(click.Group):
    """Knows the names and summaries of its commands, and imports the one that is called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*COMMANDS, *sorted(_third_party(context))]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        target = COMMANDS[name][0] if name in COMMANDS else _third_party(context).get(name, ("", ""))[0]
        return load_by_name(target) if target else None

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = arguments[0]
        if name not in COMMANDS and name not in (known := self.list_commands(context)):
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise click.UsageError(f"unknown command {name} ({hint})", context)
        return super().resolve_command(context, arguments)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, summary) for name, (_, summary) in {**COMMANDS, **_third_party(context)}.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _third_party(context: click.Context) -> Mapping[str, tuple[str, str]]:
    """Commands of plugins. Built-in plugins add none, so they are not loaded for this."""
    if context.find_root().params.get("no_plugins"):
        return {}
    commands = PluginManager.load(built_in=False).commands()
    # A plugin cannot take the name of a command of ftx's own.
    return {name: (found.command, found.summary) for name, found in commands.items() if name not in COMMANDS}


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(own_version(), prog_name="ftx")
@click.option("--debug", is_flag=True, envvar="FTX_DEBUG", help="Show the traceback of an error.")
@click.option("--no-plugins", is_flag=True, help="Load no plugins of third parties.")
def cli(debug: bool, no_plugins: bool) -> None:
    """Fine-tune, shrink, export and serve text encoders; each step is measured against the reference.

    A first run: ftx init, then ftx run train quantize export.
    """


def main(arguments: list[str] | None = None) -> None:
    """The entry point `ftx`: runs a command and exits with its code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = cli.main(arguments, prog_name="ftx", standalone_mode=False)
    except click.exceptions.Exit as finished:
        code = finished.exit_code
    except click.ClickException as error:
        code = _report_usage(error, as_json="--json" in arguments)
    except FtxError as error:
        code = report(error, as_json="--json" in arguments, debug="--debug" in arguments)
    except BrokenPipeError:
        # Whoever read our output has gone (`ftx runs | head`): nothing is left to say, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        code = int(ExitCode.INTERRUPTED)
    except Exception as bug:
        code = report(_as_bug(bug), as_json="--json" in arguments, debug="--debug" in arguments)
    sys.exit(code if isinstance(code, int) else 0)


def report(error: FtxError, *, as_json: bool, debug: bool = False, document: Mapping[str, Any] | None = None) -> int:
    """Show an error on stderr and, for `--json`, on stdout; returns the exit code.

    A traceback is shown with `--debug`, or for a bug.
    """
    if debug or os.environ.get("FTX_DEBUG") or isinstance(error, Bug):
        traceback.print_exception(error.__cause__ or error, file=sys.stderr)
    click.secho(f"error: {error.message}", fg="red", err=True)
    for hint in error.hints:
        click.echo(f"  → {hint}", err=True)
    if as_json:
        from ftx.cli.options import print_json

        described = {"code": int(error.code), "message": error.message, "hints": list(error.hints)}
        print_json({**(document or {}), "error": described})
    return int(error.code)


def _as_bug(bug: Exception) -> FtxError:
    """What nobody foresaw, as an error that says so; a disk or a permission is no bug."""
    if isinstance(bug, OSError):
        error = FtxError(str(bug), "look at the disk and the permissions: ftx doctor", code=ExitCode.STEP_FAILED)
    else:
        error = Bug(f"{type(bug).__name__}: {bug}", "a bug of ftx, or of a plugin: report it with the traceback")
    error.__cause__ = bug
    return error


def _report_usage(error: click.ClickException, *, as_json: bool) -> int:
    if as_json:
        from ftx.cli.options import print_json

        print_json({"error": {"code": 2, "message": error.format_message(), "hints": ["ftx --help"]}})
    error.show()
    return int(ExitCode.USER)
