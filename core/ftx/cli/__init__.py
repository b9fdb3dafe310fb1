"""The command line. Commands are imported when they are called: `ftx --help` needs neither pydantic nor rich."""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from ftx.errors import Bug, ExitCode, FtxError
from ftx.plugins import PluginManager, own_version
from ftx.step import load_by_name

COMMANDS: Mapping[str, tuple[str, str]] = {
    "init": ("ftx.cli.init:init", "Write an ftx.toml to start from"),
    "run": ("ftx.cli.run:run", "Carry out steps: ftx run train quantize export"),
    "sweep": ("ftx.cli.sweep:sweep", "Find the best settings: many runs, one after the other"),
    "plan": ("ftx.cli.plan:plan", "Show what a run would do, and every problem with it"),
    "data": ("ftx.cli.data:data", "Look for wrong labels and contradictions in the data"),
    "predict": ("ftx.cli.predict:predict", "Classify texts with a bundle or a checkpoint"),
    "serve": ("ftx.cli.serve:serve", "Answer requests over HTTP with a bundle"),
    "loadtest": ("ftx.cli.loadtest:loadtest", "Measure an endpoint under load: the SLO, the capacity, A against B"),
    "eval": ("ftx.cli.evaluate:evaluate", "Measure a bundle or a checkpoint on labelled data"),
    "bench": ("ftx.cli.bench:bench", "Measure a bundle's variants on this machine"),
    "compare": ("ftx.cli.compare:compare", "Say which of two models is better, or that the rows cannot tell"),
    "show": ("ftx.cli.show:show", "Show an artifact or a run"),
    "report": ("ftx.cli.run_report:report", "Write what a run lost and gained as one HTML page, or as Markdown"),
    "ui": ("ftx.cli.ui:ui", "Look at runs, artifacts and reports in a browser, and try a bundle"),
    "runs": ("ftx.cli.runs:runs", "List the runs of this project"),
    "steps": ("ftx.cli.steps:steps", "List the steps, or show one with its settings"),
    "plugins": ("ftx.cli.plugins:plugins", "List what is installed, and what is broken"),
    "cache": ("ftx.cli.cache:cache", "List, clean and check the store"),
    "doctor": ("ftx.cli.doctor:doctor", "Look at this machine and this installation"),
    "completion": ("ftx.cli.completion:completion", "Print the script that completes ftx in bash, zsh or fish"),
}
"""Name -> import string and summary."""


class LazyGroup(click.Group):
    """Knows the names and summaries of its commands, and imports the one that is called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*COMMANDS, *sorted(_third_party(context).commands())]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            own: click.Command = load_by_name(COMMANDS[name][0])
            return own
        plugins = _third_party(context)
        if name not in plugins.commands():
            return None
        try:
            return _load_command(name, plugins)
        except FtxError:
            if context.resilient_parsing:  # a key pressed in a shell: nothing to complete, and nothing to say
                return None
            raise

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = arguments[0]
        if context.resilient_parsing:
            return super().resolve_command(context, arguments)
        if name not in COMMANDS and name not in (known := self.list_commands(context)):
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            broken = [f"the plugin {info} is broken: {info.error}" for info in _third_party(context).broken()]
            raise click.UsageError("; ".join([f"unknown command {name} ({hint})", *broken]), context)
        return super().resolve_command(context, arguments)

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Names with their summaries; click's own way imports every command for this."""
        items = [
            CompletionItem(name, help=summary)
            for name, summary in self._summaries(context)
            if name.startswith(incomplete)
        ]
        return items + click.Command.shell_complete(self, context, incomplete)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(self._summaries(context))

    def _summaries(self, context: click.Context) -> list[tuple[str, str]]:
        own = [(name, summary) for name, (_, summary) in COMMANDS.items()]
        return own + [(name, command.summary) for name, command in _third_party(context).commands().items()]


def _third_party(context: click.Context) -> PluginManager:
    """The plugins of third parties. Built-in ones add no command, so they are not loaded for this."""
    root = context.find_root()
    plugins: PluginManager | None = root.meta.get(__name__)
    if plugins is None:
        # Not strict: `ftx --help` works whatever is installed, and each command loads what it needs by itself.
        plugins = PluginManager.load(built_in=False, third_party=not root.params.get("no_plugins"), strict=False)
        root.meta[__name__] = plugins
    return plugins


def _load_command(name: str, plugins: PluginManager) -> click.Command:
    """The command `name` of a plugin; `FtxError` where two plugins have it, or where it cannot be imported."""
    found = plugins.commands()[name]
    for problem in plugins.problems:
        if problem.message.startswith(f"the command {name} "):
            raise FtxError(problem.message, *problem.hints)
    info = plugins.origin(found)
    try:
        command = load_by_name(found.command)
    except Exception as error:
        message = f"the command {name} of the plugin {info} cannot be loaded: {type(error).__name__}: {error}"
        raise FtxError(message, info.repair) from error
    if not isinstance(command, click.Command):
        raise FtxError(f"the command {name} of the plugin {info} is no click command: {found.command}", info.repair)
    return command


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
    if "_FTX_COMPLETE" in os.environ:
        import ftx.cli.completion  # noqa: F401  bash is completed by ours, not by click's
    try:
        code = cli.main(arguments, prog_name="ftx", standalone_mode=False, color=_color())
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
    click.secho(f"error: {error.message}", fg="red", err=True, color=_color())
    for hint in error.hints:
        click.echo(f"  → {hint}", err=True)
    if as_json:
        from ftx.cli.options import print_json

        described = {"code": int(error.code), "message": error.message, "hints": list(error.hints)}
        print_json({**(document or {}), "error": described})
    return int(error.code)


def _color() -> bool | None:
    """False where no colour is wanted (https://no-color.org) or understood, which click does not ask."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


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
