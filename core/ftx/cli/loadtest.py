"""`ftx loadtest`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click

from ftx.artifacts import Bundle
from ftx.cli.completing import complete_classifier
from ftx.cli.options import config_option, json_option, open_store, read_config
from ftx.errors import FtxError
from ftx.runs import find_artifact
from ftx.step import load_by_name

TARGET = "ftx_loadtests.command:loadtest"
SUITES = ("smoke", "rate", "latency", "saturation", "soak", "spike", "mixed", "chaos", "ab")
REQUIRES = ("locust", "numpy")
FILE = click.Path(path_type=Path)
POSITIVE = click.FloatRange(min=0, min_open=True)

Function = TypeVar("Function", bound=Callable[..., Any])


def _load_options(function: Function) -> Function:
    """What is sent, and when."""
    options = (
        click.option("--suite", type=click.Choice(SUITES), default="rate", show_default=True, help="What is asked."),
        click.option("--rate", type=POSITIVE, help="Requests a second; of saturation, where the search begins."),
        click.option("--duration", type=POSITIVE, metavar="S", help="Seconds to measure.  [default: by the suite]"),
        click.option("--warmup", type=click.FloatRange(min=0), default=2.0, show_default=True, metavar="S"),
        click.option("--slo-p99", type=POSITIVE, metavar="MS", help="The p99 that is promised, in milliseconds."),
        click.option("--capacity", type=POSITIVE, help="Of soak and spike.  [default: searched for]"),
        click.option("--against", metavar="URL", help="The second endpoint, of the suite ab."),
        click.option("--loop", type=click.Choice(["open", "closed"]), default="open", show_default=True),
        click.option("--arrivals", type=click.Choice(["poisson", "constant"]), default="poisson", show_default=True),
        click.option("--trace", type=FILE, help="Replay arrivals: a time in seconds on each line."),
        click.option("--users", type=click.IntRange(min=1), default=1, show_default=True, help="Of a closed loop."),
        click.option("--pacing", type=click.FloatRange(min=0), default=0.0, help="Of a closed loop: s between starts."),
        click.option("--timeout", type=POSITIVE, default=30.0, show_default=True, help="Seconds for an answer."),
        click.option(
            "--in-flight",
            type=click.IntRange(min=1),
            default=1000,
            show_default=True,
            help="Requests at a time of a worker; what is due beyond them is dropped, and counted.",
        ),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
    )
    return _apply(options, function)


def _payload_options(function: Function) -> Function:
    options = (
        click.option("--texts", type=FILE, help="csv, tsv, jsonl, or a text a line.  [default: sentences of our own]"),
        click.option("--text-column", metavar="NAME"),
        click.option("--label-column", metavar="NAME", help="The labels that the answers should have."),
        click.option(
            "--golden", metavar="REF", shell_complete=complete_classifier, help="Golden texts of this bundle."
        ),
        click.option(
            "--lengths", metavar="DIST", help="Made-up texts: fixed:20, uniform:5,60, lognormal:20,0.8 words."
        ),
        click.option("--repeat", is_flag=True, help="Send texts again as they were: the server may answer by cache."),
        click.option(
            "--protocol", type=click.Choice(["tei", "oip", "guide", "template"]), default="tei", show_default=True
        ),
        click.option("--template", type=FILE, help="A JSON file that describes the requests of another API."),
        click.option("--model", metavar="NAME", help="Of the protocol oip.  [default: the server's first]"),
        click.option("--api-key-env", metavar="VAR", help="Send the API key that this environment variable holds."),
        click.option("--ca-file", type=FILE, help="Certificates to trust."),
        click.option("--insecure", is_flag=True, help="Trust any certificate."),
    )
    return _apply(options, function)


def _process_options(function: Function) -> Function:
    options = (
        click.option("--workers", type=click.IntRange(min=1, max=1024), default=1, show_default=True),
        click.option("--master", is_flag=True, help="Wait for --workers workers on other machines."),
        click.option("--master-port", type=click.IntRange(1, 65535), default=5557, show_default=True),
        click.option("--worker", metavar="HOST[:PORT]", help="Be a worker of that master; URL is not needed."),
        click.option("--calibration/--no-calibration", default=True, help="Measure the client alone first."),
        click.option("--price-per-hour", type=POSITIVE, help="Of the server, for the cost of a million requests."),
        click.option(
            "--report", type=FILE, metavar="DIR", help="Write report, raw samples, JSON, CSV and JUnit there."
        ),
    )
    return _apply(options, function)


def _apply(options: tuple[Callable[[Function], Function], ...], function: Function) -> Function:
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@click.argument("url", required=False)
@_load_options
@_payload_options
@_process_options
@config_option
@json_option
@click.pass_context
def loadtest(
    context: click.Context,
    /,
    url: str | None,
    config_path: Path | None,
    as_json: bool,
    golden: str | None,
    **options: Any,
) -> None:
    """Measure the endpoint URL under load: is the SLO met, was the measurement valid, is the answer certain.

    Requests leave by a schedule of their own (open loop), and are timed from when they were due. Exit codes: 0 pass, 1
    the SLO is missed, 2 usage, 3 the measurement is not valid, 4 it cannot tell.
    """
    if missing := [package for package in REQUIRES if find_spec(package) is None]:
        raise FtxError(f"a load test needs {', '.join(missing)}", "pip install 'ftx-toolchain[loadtest]'")
    if url is None and options["worker"] is None:
        raise FtxError("there is no endpoint to test", "name it: ftx loadtest http://127.0.0.1:8000")
    bundle = None if golden is None else _finder(golden, config_path)
    context.exit(load_by_name(TARGET)(url, options, bundle, as_json=as_json))


def _finder(reference: str, config_path: Path | None) -> Callable[[], Bundle]:
    def find() -> Bundle:
        artifact = find_artifact(reference, open_store(read_config(config_path)))
        if not isinstance(artifact, Bundle):
            raise FtxError(f"{reference} is a {artifact.kind}", "name a bundle: --golden latest:export")
        return artifact

    return find
