"""`ftx compare`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from ftx.cli.options import config_option, json_option, open_store, print_json, read_config
from ftx.errors import FtxError
from ftx.looked_at import find_load_tests, find_pair
from ftx.step import load_by_name
from ftx.tasks import TEXT_CLASSIFICATION
from ftx.verdict import sentence, what_would_tell


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@config_option
@json_option
@click.option("--split", type=click.Choice(["validation", "test"]), help="[default: test, if both were tested]")
@click.option("--variant", "variants", multiple=True, help="Of a bundle; once for both, or twice: of A, then of B.")
def compare(
    first: str, second: str, config_path: Path | None, as_json: bool, split: str | None, variants: tuple[str, ...]
) -> None:
    """Say whether B is better than A, worse, or whether the rows that both were evaluated on cannot tell.

    A and B are runs, or REFs of evaluations, bundles or checkpoints. By McNemar's exact test and a paired bootstrap of
    the accuracy; the exit code is 0 whatever the verdict.

    Of two load tests (REFs, or folders of `ftx loadtest --report`) it says whether B is faster than A, or slower.
    """
    if len(variants) > 2:
        raise FtxError(f"{len(variants)} variants for two models", "give --variant once, or twice: of A, then of B")
    of_each = [*variants, *variants][:2] if variants else [None, None]
    store = open_store(read_config(config_path))
    folders = find_load_tests((first, second), store)
    if folders is not None:
        if split or variants:
            raise FtxError("load tests have no splits and no variants", f"ftx compare {first} {second}")
        found = load_by_name("ftx_loadtests.comparing:compare")((first, second), folders)
        _show(found, load_by_name("ftx_loadtests.comparing:lines_of"), as_json)
        return
    pair = find_pair((first, second), of_each, split, store)
    _show(load_by_name("ftx_plugins.evaluate.compare:compare")(*pair), _lines, as_json)


def _show(found: Mapping[str, Any], in_words: Callable[[Mapping[str, Any]], list[str]], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for line in in_words(found):
        click.echo(line)


def _lines(found: Mapping[str, Any]) -> list[str]:
    """The comparison in words."""
    test = found["mcnemar"]
    lines = [f"{found['rows']} rows of the {found['split']} split; in brackets 95% bootstrap intervals"]
    right = "accuracy" if found["task"] == TEXT_CLASSIFICATION else "all right"
    for name, title in (("accuracy", right), ("f1_macro", "macro F1")):
        metric = found[name]
        low, high = metric["interval"]
        lines.append(
            f"  {title:<9} A {metric['a']:.4f}  B {metric['b']:.4f}  difference {metric['difference']:+.4f} "
            f"[{low:+.4f}, {high:+.4f}]"
        )
    lines.append(
        f"  right     A alone {test['only_first']} rows, B alone {test['only_second']} rows; McNemar's exact "
        f"p = {test['p_value']:.3g}"
    )
    return [*lines, f"verdict: {sentence(found)}", *(f"  {line}" for line in what_would_tell(found))]
