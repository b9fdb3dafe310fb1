"""`ftx data audit`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ftx.artifacts import Artifact, Checkpoint
from ftx.cli import report
from ftx.cli.completing import complete_classifier
from ftx.cli.options import (
    command_line,
    config_option,
    json_option,
    load_plugins,
    open_store,
    print_json,
    read_config,
    set_option,
)
from ftx.console import RunConsole
from ftx.errors import FtxError
from ftx.events import Events
from ftx.plan import SOURCE, Plan
from ftx.planner import FETCH, make_plan
from ftx.runner import RunResult, run_plan
from ftx.runs import find_artifact, input_of, trained_ancestor
from ftx.step import load_by_name
from ftx.store import Store
from ftx.tasks import TEXT_CLASSIFICATION

TEXT_CHARACTERS = 70


@click.group()
def data() -> None:
    """Look at the project's data."""


@data.command()
@config_option
@set_option
@json_option
@click.option(
    "--split",
    "splits",
    multiple=True,
    type=click.Choice(["train", "validation", "test"]),
    default=("train",),
    show_default=True,
    help="Rows to audit; may be repeated.",
)
@click.option("--folds", type=click.IntRange(2, 50), default=5, show_default=True, help="Folds of cross-validation.")
@click.option(
    "--checkpoint",
    shell_complete=complete_classifier,
    metavar="REF",
    help="Take the probabilities of this checkpoint; not for training rows, whose labels it has learnt.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write all rows to look at into a csv.")
@click.option("--top", default=20, show_default=True, help="Rows to show here.")
@click.pass_context
def audit(
    context: click.Context,
    config_path: Path | None,
    settings: tuple[str, ...],
    as_json: bool,
    splits: tuple[str, ...],
    folds: int,
    checkpoint: str | None,
    out: Path | None,
    top: int,
) -> None:
    """Rank the rows whose label may be wrong, and those that contradict others; nothing is changed.

    Likely errors are told by cross-validated confidence (confident learning) of a logistic regression on the vectors of
    the project's frozen encoder. Behind them come duplicates and near-duplicates with different labels. Mark rows in
    the column `exclude` of the csv, and leave them out: data.exclude = "audit.csv".
    """
    if out is not None and out.exists():
        raise FtxError(f"{out} is there already, and rows may be marked in it", "name another file: --out FILE")
    config = read_config(config_path, settings)
    store = open_store(config)
    judge = _checkpoint(checkpoint, splits, store)
    plugins = load_plugins(context)
    plan = make_plan(("data",), config, plugins)
    if plan.model.task != TEXT_CLASSIFICATION:
        raise FtxError(
            f"an audit is for {TEXT_CLASSIFICATION}, and model.task is {plan.model.task}",
            "see what data found in the rows: ftx run data",
        )
    with RunConsole(quiet=True) as console:
        command = command_line("data", "audit", config_path=config_path, settings=settings)
        result = run_plan(plan, plugins, Events([console]), command=command)
    if result.error is not None:
        context.exit(report(result.error, as_json=as_json, document=result.to_json()))
    dataset = store.open(result.record.steps[-1]["artifact"]["digest"])
    if judge is not None:
        _require_unseen(judge, dataset, str(checkpoint), store)
    found = _audit(plan, result, dataset, judge, splits, folds, store)
    if out is not None:
        load_by_name("ftx_plugins.data.audit:write_csv")(found.entries, out)
    if as_json:
        print_json({**found.to_json(), "data": dataset.digest, "out": str(out) if out else None})
        return
    _print(found, out, top)


def _audit(
    plan: Plan,
    result: RunResult,
    dataset: Artifact,
    judge: Artifact | None,
    splits: Sequence[str],
    folds: int,
    store: Store,
) -> Any:
    """Run the audit, with a bar on stderr where a person sees it."""
    try:
        run = load_by_name("ftx_plugins.data.audit:audit")
    except ModuleNotFoundError as error:
        raise FtxError(
            f"the audit needs {error.name}, which is not installed", 'pip install "ftx-toolchain[audit]"'
        ) from error
    with click.progressbar(length=1, label="rows", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        return run(
            dataset,
            _model_folder(plan, result, store),
            splits=tuple(dict.fromkeys(splits)),
            folds=folds,
            seed=plan.seed,
            checkpoint=judge.path if judge else None,
            trust_remote_code=plan.model.trust_remote_code,
            progress=progress,
        )


def _model_folder(plan: Plan, result: RunResult, store: Store) -> Path:
    """The encoder: the folder that was given, or what the plan has fetched from the hub."""
    given = plan.given.get(SOURCE)
    if given is not None:
        return given if isinstance(given, Path) else given.path
    fetched = next(step for step in result.record.steps if step["step"] == FETCH)
    return store.open(fetched["artifact"]["digest"]).path


def _checkpoint(reference: str | None, splits: Sequence[str], store: Store) -> Artifact | None:
    if reference is None:
        return None
    if "train" in splits:
        raise FtxError(
            "a checkpoint has learnt the labels of its training rows, the wrong ones too: it cannot judge them",
            "audit rows that it did not train on: --split validation --split test",
            "or leave --checkpoint out: training rows are then judged by cross-validation",
        )
    found = find_artifact(reference, store)
    if not isinstance(found, Checkpoint):
        raise FtxError(f"{reference} is a {found.kind}", "name a checkpoint: --checkpoint latest:train")
    return found


def _require_unseen(checkpoint: Artifact, dataset: Artifact, reference: str, store: Store) -> None:
    """Raise `FtxError` unless the checkpoint, or what it was made from, was trained on this very data set's rows, or on
    these and rows that were added to them."""
    trained = trained_ancestor(checkpoint, store)
    # Augmentation makes a data set of another and adds no row to its validation and test splits.
    source = input_of(trained, "data", store) if trained is not None else None
    while source is not None and source.digest != dataset.digest:
        source = input_of(source, "data", store)
    if source is None:
        trained_on = trained.manifest.inputs.get("data") if trained is not None else None
        raise FtxError(
            f"{reference} was trained on other data ({(trained_on or 'unknown')[:12]}, not {dataset.digest[:12]}): "
            "rows that it judges may have trained it",
            "train one on these: ftx run train",
        )


def _print(found: Any, out: Path | None, top: int) -> None:
    click.echo(
        f"{found.rows} rows: {found.likely_errors} labels are likely wrong, {found.conflicting_groups} texts have "
        f"several labels, {found.conflicting_clusters} clusters of near-duplicates have several labels"
    )
    click.echo(f"judged by {found.probabilities}; it agrees with {found.accuracy:.1%} of the labels")
    for entry in found.entries[:top]:
        text = " ".join(entry.text.split())
        text = text if len(text) <= TEXT_CHARACTERS else f"{text[: TEXT_CHARACTERS - 1]}…"
        advice = f"{entry.given} → {entry.suggested} {entry.confidence:.2f}" if entry.suggested else entry.given
        click.echo(f"  {entry.source}:{entry.row:<7} {advice:<32} {text}  [{entry.reasons}]")
    if len(found.entries) > top:
        click.echo(f"  … and {len(found.entries) - top} more")
    if out is not None:
        click.echo(f"all {len(found.entries)} rows: {out}")
        click.echo(f'mark rows in its column `exclude`, then leave them out: --set data.exclude="{out}"')
    elif found.entries:
        click.echo("write them into a file: ftx data audit --out audit.csv")
