"""The pages of the reference say all that there is: commands and options, settings, the Python API."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

import ftx
from ftx.cli import COMMANDS, cli
from ftx.command_docs import command_docs
from ftx.plugins import PluginManager
from ftx.python_docs import IN_HOOKS, SECTIONS, python_docs
from ftx.settings_docs import settings_docs


def everything(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from everything(inner, f"{path} {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_is_on_the_page(name):
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    for path, command in everything(found, f"ftx {name}"):
        heading = f" {path} {{#{path.replace(' ', '-')}}}\n"
        section = command_docs().split(heading)[1].split("\n## ")[0]
        for option in (each for each in command.params if isinstance(each, click.Option) and not each.hidden):
            assert f"`{option.opts[0]}`" in section
            told = section.replace("\\|", "|").replace("&lt;", "<")
            for part in (option.help or "").split("  [default: "):
                assert part.removesuffix("]") in told


def test_every_setting_of_every_step_is_on_the_page_with_what_it_means():
    page = settings_docs().replace("\\|", "|").replace("&lt;", "<")
    for step in PluginManager.load(third_party=False).steps().values():
        if step.stage == "model":  # its table is the project's
            continue
        section = page.split(f"### {step.full_name} {{#{step.stage}-{step.name}}}\n")[1].split("\n### ")[0]
        for name, field in step.config.model_fields.items():
            assert f"| `{name}` |" in section
            assert (field.description or "") in section


def test_all_that_the_package_offers_is_on_a_page():
    described = {name.rpartition(".")[2] for names in SECTIONS.values() for name in names}
    versions = {"API_VERSION", "__version__"}
    assert described | set(IN_HOOKS) | versions | {"hookimpl"} >= set(ftx.__all__)
    assert all(f"ftx.{name}" in python_docs() for name in versions)
