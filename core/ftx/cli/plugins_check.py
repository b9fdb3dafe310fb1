"""`ftx plugins check`: the contract of steps, held against what is installed."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from ftx.artifacts import Artifact
from ftx.cli.options import json_option, load_plugins, print_json
from ftx.errors import ExitCode, FtxError
from ftx.plugins import PluginManager
from ftx.step import Step


@dataclass(frozen=True)
class Checked:
    """A step, or a plugin that does not load, and what is wrong with it."""

    step: str
    plugin: str
    problems: tuple[str, ...] = ()
    partly: str = ""
    """Why the step was not run: only what can be seen without that was checked."""


@click.command()
@click.argument("names", nargs=-1, metavar="[PLUGIN or STEP]...")
@click.option("--kill/--no-kill", default=True, help="Also run each step in a process that is killed half-way.")
@json_option
@click.pass_context
def check(context: click.Context, names: tuple[str, ...], kill: bool, as_json: bool) -> None:
    """Hold the steps of third-party plugins against the contract of steps, on a tiny model.

    Without names every step of every third-party plugin is checked. A step whose settings have no defaults is checked
    as far as that goes: hold it against the contract in its own tests, with assert_step_contract.
    """
    manager = load_plugins(context)
    manager.steps()
    checked = [
        Checked("", str(info), (f"does not load: {info.error}",))
        for info in manager.broken()
        if not names or info.name in names
    ]
    chosen = _chosen(manager, names)
    # What transformers says of the tiny model would bury the findings; it reads these when it is first imported.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with tempfile.TemporaryDirectory(prefix="ftx-check-") as folder:
        tiny = _Tiny(Path(folder) / "tiny")
        for number, step in enumerate(chosen):
            checked.append(_check(step, manager, tiny, Path(folder) / f"step-{number}", kill))
    for each in checked if not as_json else ():
        _show(each)
    failed = [each for each in checked if each.problems]
    if as_json:
        print_json({"checked": [asdict(each) for each in checked], "failed": len(failed)})
    elif not checked:
        click.echo("no plugin of a third party adds a step; check a built-in one by its name: ftx plugins check STEP")
    if failed:
        if not as_json:
            click.secho(f"{len(failed)} of {len(checked)} break the contract", fg="red", err=True)
        context.exit(int(ExitCode.STEP_FAILED))


def _chosen(manager: PluginManager, names: tuple[str, ...]) -> list[Step]:
    steps = manager.steps()
    known = {*steps, *(info.name for info in manager.infos)}
    if unknown := [name for name in names if name not in known]:
        raise FtxError(f"there is no plugin or step {', '.join(unknown)}", "see what there is: ftx plugins")
    return [
        step
        for name, step in sorted(steps.items())
        if (not names and not manager.origin(step).built_in) or name in names or manager.origin(step).name in names
    ]


def _check(step: Step, manager: PluginManager, tiny: _Tiny, folder: Path, kill: bool) -> Checked:
    from ftx.testing.contract import check_step
    from ftx.testing.tiny import inputs_for

    partly = ""
    if required := [name for name, field in step.config.model_fields.items() if field.is_required()]:
        partly = f"not run: {', '.join(required)} must be set"
    elif not step.cached:
        partly = "not run: it is never cached, and goes on until it is stopped"
    inputs = None if partly else inputs_for(step, tiny.make)
    findings = check_step(step, manager, inputs, folder, kill=kill)
    return Checked(step.full_name, str(manager.origin(step)), tuple(map(str, findings)), partly)


class _Tiny:
    """The kit's tiny artifacts, each made when a step first needs it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, Artifact] = {}

    def make(self, kind: str) -> Artifact:
        if kind not in self._made:
            self._made[kind] = self._make(kind)
        return self._made[kind]

    def _make(self, kind: str) -> Artifact:
        from ftx.testing import tiny

        if kind == "dataset":
            return tiny.write_dataset(self._folder / "data")
        if kind == "checkpoint":
            encoder = tiny.write_encoder(self._folder / "encoder")
            classifier = tiny.write_classifier(self._folder / "classifier", encoder)
            return tiny.make_artifact(classifier, kind, meta={"task": tiny.TASK, "base": "tiny"})
        model, data = self.make("checkpoint"), self.make("dataset")
        return tiny.write_bundle(self._folder / "bundle", model.path, data)


def _show(checked: Checked) -> None:
    mark, color = ("breaks the contract", "red") if checked.problems else ("ok", "green")
    name = f"{checked.step}, of {checked.plugin}" if checked.step else checked.plugin
    click.secho(f"{name}: {mark}{f' ({checked.partly})' if checked.partly else ''}", fg=color)
    for problem in checked.problems:
        click.echo(f"  • {problem}")
