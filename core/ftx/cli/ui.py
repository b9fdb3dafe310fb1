"""`ftx ui`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from ftx import reporting
from ftx.cli.options import config_option, load_plugins, open_store, read_config
from ftx.errors import FtxError
from ftx.step import load_by_name

TARGET = "ftx_plugins.ui.server:serve"
NEEDS = (*reporting.NEEDS, *reporting.NEEDS_TO_COMPARE, "starlette", "tokenizers", "uvicorn")


@click.command()
@config_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8470, show_default=True, help="0: any that is free.")
@click.pass_context
def ui(context: click.Context, config_path: Path | None, host: str, port: int) -> None:
    """Show the project's store as pages in a browser, until SIGINT or SIGTERM.

    Runs with what they lost and gained, a run in another terminal while it goes on, artifacts, reports, two runs
    compared, and a bundle to try. Whoever reaches the address reads the project's texts: it is this machine's own
    unless --host says otherwise.
    """
    if missing := [name for name in NEEDS if find_spec(name) is None]:
        raise FtxError(f"the pages need {', '.join(missing)}", "install them: pip install 'ftx-toolchain[ui]'")
    store = open_store(read_config(config_path))
    load_by_name(TARGET)(store, load_plugins(context), host, port, lambda message: click.echo(message, err=True))
