"""`ftx predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ftx.artifacts import Bundle, Checkpoint
from ftx.cli.completing import complete_classifier, complete_runtime, complete_variant
from ftx.cli.options import config_option, json_option, load_plugins, open_store, print_json, read_config
from ftx.errors import FtxError
from ftx.runs import find_artifact
from ftx.step import load_by_name

PREDICTORS = {
    Bundle: "ftx_serving.predict:predict",
    Checkpoint: "ftx_plugins.predict:predict",
}
"""Kind -> `predict(artifact, texts, pairs, plugins, **choices) -> (predictions, description)`."""


@click.command()
@click.argument("reference", metavar="REF", shell_complete=complete_classifier)
@click.argument("texts", nargs=-1, metavar="TEXT...")
@config_option
@json_option
@click.option("--file", "file", type=click.File(encoding="utf-8"), help="Read texts, a line each; - is standard input.")
@click.option("--pair", "pairs", multiple=True, help="The second text of a text pair; once for each TEXT.")
@click.option("--top-k", type=click.IntRange(min=1), help="Show so many labels.  [default: all]")
@click.option(
    "--variant",
    shell_complete=complete_variant,
    help="The variant of a bundle.  [default: the one chosen here, or its first that runs]",
)
@click.option("--runtime", shell_complete=complete_runtime, help="What executes it: onnxruntime, torchscript.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.pass_context
def predict(
    context: click.Context,
    reference: str,
    texts: tuple[str, ...],
    config_path: Path | None,
    as_json: bool,
    file: Any,
    pairs: tuple[str, ...],
    top_k: int | None,
    variant: str | None,
    runtime: str | None,
    device: str,
) -> None:
    """Classify each TEXT with REF: a folder, the beginning of a digest, latest, or latest:STAGE.

    For each text, labels with their scores, the best first: what a server's /predict answers. Of several labels those
    that are predicted are marked *; a regression gives its number; token classification gives the entities with their
    places in the text, in characters.
    """
    wanted = [*texts, *_lines(file)]
    if not wanted:
        raise FtxError(
            "no text to classify", f'give one: ftx predict {reference} "some text"', "or a file: --file FILE"
        )
    if pairs and len(pairs) != len(wanted):
        raise FtxError(f"{len(wanted)} texts and {len(pairs)} second texts", "give --pair once for each text")
    artifact = find_artifact(reference, open_store(read_config(config_path)))
    target = PREDICTORS.get(type(artifact))
    if target is None:
        raise FtxError(
            f"{reference} is a {artifact.manifest.kind}, which cannot classify",
            "name a bundle or a checkpoint: latest:export",
        )
    choices = {"top_k": top_k, "variant": variant, "runtime": runtime, "device": device}
    function = load_by_name(target)
    predictions, description = function(artifact, wanted, list(pairs) or None, load_plugins(context), **choices)
    if as_json:
        print_json(predictions)
        return
    click.echo(f"{artifact.kind} {artifact.digest[:12]}, {description}", err=True)
    for text, scores in zip(wanted, predictions, strict=True):
        listed = "  ".join(_shown(score) for score in scores)
        click.echo(f"{listed}\t{text}" if sys.stdout.isatty() else f"{text}\t{listed}")


def _shown(score: dict[str, Any]) -> str:
    """A label with its score, and a mark where it is one of several that are predicted; an entity with its text."""
    if "start" in score:
        return f"{score['text']} {score['label']} {score['score']:.3f} [{score['start']}:{score['end']}]"
    return f"{score['label']} {score['score']:.3f}" + ("*" if score.get("predicted") else "")


def _lines(file: Any) -> list[str]:
    """The lines of an open file, if there is one."""
    try:
        return [line.rstrip("\n") for line in file or ()]
    except UnicodeDecodeError as error:
        raise FtxError(f"{file.name} is not UTF-8: {error}", "convert it: iconv -f gb18030 -t utf-8 FILE") from None
