"""`ftx bench`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ftx import machine
from ftx.artifacts import Bundle
from ftx.cli.options import config_option, json_option, load_plugins, open_store, print_json, read_config
from ftx.console import FULL_WIDTH
from ftx.errors import FtxError
from ftx.runs import find_artifact
from ftx.step import load_by_name
from ftx.store import Store

TARGET = "ftx_serving.bench.command:bench"
TEXTS_OF_DATA = "ftx_plugins.choose.texts:texts_of_data"


@click.command()
@click.argument("reference", metavar="REF")
@config_option
@json_option
@click.option("--texts", "file", type=click.Path(path_type=Path), help="Measure with these texts, a line each.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=15.0, show_default=True)
@click.option(
    "--prefer",
    type=click.Choice(["throughput", "latency", "balanced"]),
    default="throughput",
    show_default=True,
    help="What is fast: rows/s in batches, milliseconds alone, or the mean of both.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--variant", "variants", multiple=True, help="Measure this variant; may be repeated.  [default: all]")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    multiple=True,
    help="Try this number of threads; may be repeated.  [default: all cores, and fewer where there are many]",
)
@click.pass_context
def bench(
    context: click.Context,
    reference: str,
    config_path: Path | None,
    as_json: bool,
    file: Path | None,
    seconds: float,
    prefer: str,
    batch_size: int,
    variants: tuple[str, ...],
    threads: tuple[int, ...],
) -> None:
    """Measure every variant of the bundle REF on this machine, tokenization included, and mark the fastest.

    The texts are those of --texts, or of the data set that the bundle was made with if it is in the store, or else
    the bundle's golden examples. Nothing is changed: a bundle gets its choice by ftx run … choose.
    """
    store = open_store(read_config(config_path))
    bundle = find_artifact(reference, store)
    if not isinstance(bundle, Bundle):
        raise FtxError(f"{reference} is a {bundle.kind}", "name a bundle: ftx bench latest:export")
    function = load_by_name(TARGET)
    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("measuring", total=seconds)
        document = function(
            bundle,
            load_plugins(context),
            file=file,
            of_data=_texts_of_data(bundle, store),
            seconds=seconds,
            prefer=prefer,
            batch_size=batch_size,
            variants=variants,
            threads=threads,
            progress=lambda done, total: bars.update(task, completed=done, total=total),
        )
    if as_json:
        print_json(document)
    else:
        _print(document)


def _texts_of_data(bundle: Bundle, store: Store) -> Callable[[], Any] | None:
    """What reads the texts of the bundle's data set, if the store still has it and this machine can read it."""
    digest = bundle.meta.get("lineage", {}).get("data", "")
    if not digest or not (store.objects / digest).is_dir() or find_spec("datasets") is None:
        return None
    return lambda: load_by_name(TEXTS_OF_DATA)(store.open(digest))


def _print(document: Mapping[str, Any]) -> None:
    # A narrow terminal breaks the lines of the table; rich would leave out the figures.
    console = Console(file=sys.stdout, highlight=False, width=max(FULL_WIDTH, Console().width))
    where = document["machine"]
    console.print(f"{where['processor']}, {where['cores']} cores", markup=False)
    console.print(
        f"{document['texts']} texts ({document['source']}), {document['mean_tokens']:.1f} tokens on average",
        markup=False,
    )
    console.print(f"compared by {document['prefer']}; ± is the 95% interval", markup=False)
    console.print(f"matrix products: {_rates(document['rates'])}", markup=False)
    console.print(_table(document))
    for each in document["skipped"]:
        console.print(f"not measured: {each['name']}: {each['why']}; {each['hint']}", markup=False, soft_wrap=True)
    for name, why in document["refused"].items():
        if name in {candidate["variant"] for candidate in document["candidates"]}:
            console.print(f"refused: {name}: {why}", markup=False, soft_wrap=True)
    before = document["chosen_before"]
    if before and before["processor"] != machine.processor():
        console.print(
            f"the bundle's choice, {before['variant']}, was made on another processor ({before['processor']}): "
            "run the same ftx run again here, and the choice is measured anew",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )


def _table(document: Mapping[str, Any]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for title in ("", "variant", "runtime"):
        table.add_column(title, no_wrap=True)
    for title in ("threads", "rows/s", "p50 ms", "p95 ms", "× fp32", "of floor", "rounds"):
        table.add_column(title, justify="right", no_wrap=True)
    for found in document["candidates"]:
        table.add_row(
            "→" if found["fastest"] else "",
            found["variant"],
            found["runtime"],
            str(found["threads"]),
            _interval(found["rows_per_second"], 0),
            _interval(found["p50_ms"], 2),
            _interval(found["p95_ms"], 2),
            "–" if found["to_fp32"] is None else _interval(found["to_fp32"], 2),
            "–" if found["share_of_floor"] is None else f"{found['share_of_floor']:.0%}",
            f"{found['rounds']}{', given up' if found['given_up'] else ''}",
        )
    return table


def _interval(values: Mapping[str, float], digits: int) -> str:
    """The figure, and half its interval in percent; both bounds are in the JSON document."""
    half = (values["high"] - values["low"]) / 2 / values["value"]
    return f"{values['value']:.{digits}f} ±{half:.0%}"


def _rates(rates: Mapping[str, float | None]) -> str:
    named = (
        f"{name} " + ("not measured" if rate is None else f"{rate / 1e9:.0f} Gop/s") for name, rate in rates.items()
    )
    return ", ".join(named)
