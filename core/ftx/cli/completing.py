"""What the shell may complete: steps, references, runs, variants, settings.

Called at each press of a key: nothing here imports more than it needs, and a project with a mistake in it completes
to nothing instead of printing an error into the user's prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from ftx.errors import FtxError

if TYPE_CHECKING:
    from ftx.plugins import PluginManager
    from ftx.settings import StepConfig
    from ftx.store import Store

Items = list[CompletionItem[str]]
RUNS_LOOKED_AT = 50
ARTIFACTS_LOOKED_AT = 200
CLASSIFIERS = ("bundle", "checkpoint")
DIGEST_LENGTH = 12


def complete_steps(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """`quantize`, `quantize:static`: each stage, and each of its methods."""
    steps = _plugins(context).steps()
    names = {step.stage: "" for step in steps.values() if step.stage != "model"}
    names |= {name: step.summary for name, step in steps.items() if step.stage != "model"}
    for step in steps.values():
        if step.default and step.stage in names:
            names[step.stage] = step.summary
    return _matching(sorted(names.items()), incomplete)


def complete_reference(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Any REF: `latest`, `latest:STAGE`, the beginning of a digest, a folder."""
    return _references(context, incomplete, kinds=None)


def complete_classifier(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """A REF that can classify: of a bundle or a checkpoint."""
    return _references(context, incomplete, kinds=CLASSIFIERS)


def complete_reference_or_run(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Any REF, or the ID of a run."""
    return [*_references(context, incomplete, kinds=None), *complete_runs(context, parameter, incomplete)]


def complete_runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """The IDs of runs."""
    store = _store(context)
    if store is None:
        return []
    from ftx.runs import list_runs

    runs = islice(list_runs(store), RUNS_LOOKED_AT)
    return _matching(((run.id, f"{run.status}: {' '.join(run.words)}") for run in runs), incomplete)


def complete_variant(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """The variants of the bundle that the command names before."""
    # An option whose value is still to come ends click's parsing before it has named the arguments.
    reference = context.params.get("reference") or next(iter(context.args), None)
    store = _store(context)
    if not reference or store is None:
        return []
    from ftx.runs import find_artifact

    try:
        variants = find_artifact(reference, store).meta.get("variants", ())
    except FtxError:
        return []
    described = ((variant["name"], f"{variant['format']}, {variant['runtime']}") for variant in variants)
    return _matching(described, incomplete)


def complete_runtime(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    runtimes = _plugins(context).runtimes()
    return _matching(((name, runtime.summary) for name, runtime in runtimes.items()), incomplete)


def complete_executor(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    executors = _plugins(context).executors()
    return _matching(((name, executor.summary) for name, executor in executors.items()), incomplete)


def complete_setting(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """`train.learning_rate=`: the left side of `--set`."""
    from ftx.config import BudgetTable, ModelTable, ProjectTable

    tables: dict[str, type[StepConfig]] = {"": ProjectTable, "model.": ModelTable, "budget.": BudgetTable}
    fields = {prefix + name: field for prefix, table in tables.items() for name, field in table.model_fields.items()}
    for step in _plugins(context).steps().values():
        fields |= {f"{step.stage}.{name}": field for name, field in step.config.model_fields.items()}
    return _matching(((f"{name}=", field.description or "") for name, field in sorted(fields.items())), incomplete)


def _references(context: click.Context, incomplete: str, kinds: tuple[str, ...] | None) -> Items:
    if incomplete.startswith((".", "/", "~")) or "/" in incomplete:
        return [CompletionItem(incomplete, type="dir")]
    store = _store(context)
    if store is None:
        return []
    return [
        *_matching(_latest(store, kinds), incomplete),
        *_matching(_digests(store, incomplete, kinds), incomplete),
    ]


def _latest(store: Store, kinds: tuple[str, ...] | None) -> Iterator[tuple[str, str]]:
    """`latest` and `latest:STAGE`, of the stages whose artifacts the last runs left in the store."""
    from ftx.runs import LATEST, list_runs

    found: dict[str, str] = {}
    for run in islice(list_runs(store), RUNS_LOOKED_AT):
        made = run.artifact and (store.objects / run.artifact["digest"]).is_dir()
        if made and run.artifact:
            found.setdefault(LATEST, f"the last {run.artifact['kind']}")
        for step in reversed(run.steps):
            artifact = step["artifact"]
            if artifact and (kinds is None or artifact["kind"] in kinds):
                stage = step["step"].partition(":")[0]
                found.setdefault(f"{LATEST}:{stage}", f"{artifact['kind']} of {step['step']}")
                found.setdefault(f"{LATEST}:{step['step']}", artifact["kind"])
    yield from sorted(found.items())


def _digests(store: Store, incomplete: str, kinds: tuple[str, ...] | None) -> Iterator[tuple[str, str]]:
    from ftx.artifacts import Manifest

    digests = [digest for digest in store.digests() if digest.startswith(incomplete.lower())]
    for digest in digests[:ARTIFACTS_LOOKED_AT]:
        try:
            manifest = Manifest.read(store.objects / digest)
        except FtxError:
            continue  # damaged: `ftx cache verify` tells of it, a key pressed does not
        if kinds is None or manifest.kind in kinds:
            # Long enough to be the only one, and more of it where the user has typed more.
            yield digest[: max(DIGEST_LENGTH, len(incomplete))], f"{manifest.kind} of {manifest.step or 'unknown'}"


def _store(context: click.Context) -> Store | None:
    """The store of the project that the command line names; None where its settings are wrong."""
    from ftx.cli.options import open_store, read_config

    try:
        return open_store(read_config(context.params.get("config_path")))
    except FtxError:
        return None


def _plugins(context: click.Context) -> PluginManager:
    from ftx.cli.options import load_plugins

    return load_plugins(context, strict=False)


def _matching(described: Iterable[tuple[str, str]], incomplete: str) -> Items:
    return [CompletionItem(name, help=text or None) for name, text in described if name.startswith(incomplete)]
