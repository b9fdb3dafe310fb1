"""Every block of every page: commands are parsed by the real commands, TOML is held against the real settings."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import click
import pytest

from ftx.errors import FtxError
from ftx.plugins import PluginManager
from ftx.testing.documentation import Block, blocks, check_command, commands, inline_commands, toml_problems

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")) if path.is_file()
)
ALL = [
    pytest.param(block, id=f"{path.relative_to(ROOT)}:{block.line}")
    for path in PAGES
    for block in blocks(path.read_text(encoding="utf-8"))
]
SHELL = [each for each in ALL if each.values[0].language == "sh"]
TOML = [each for each in ALL if each.values[0].language == "toml"]
PYTHON = [each for each in ALL if each.values[0].language == "python"]
OTHER_COMMANDS = {".", "[", "cd", "cp", "curl", "export", "git", "kill", "ls", "mkdir", "pytest", "python", "python3"}
OTHER_COMMANDS |= {".venv/bin/pip", ".venv/bin/python", "docker", "eval", "source", "torchrun"}
"""What pages may call besides `ftx`, `pip` and `make`, which are checked."""


@pytest.fixture(scope="session")
def plugins() -> PluginManager:
    return PluginManager.load(third_party=False)


def check(code: str, plugins: PluginManager) -> list[str]:
    """The names of the commands. Raises for one that ftx, pip or make would not take."""
    names = []
    for words in commands(code):
        name = Path(words[0]).name
        names.append(name)
        if name == "ftx":
            check_command(words, plugins)
        elif "ftx" in words[:-1] and words[words.index("ftx") - 1] == "-m":
            check_command(words[words.index("ftx") :], plugins)
        elif name == "pip":
            check_extras(words)
        elif name == "make":
            check_target(words)
        elif words[0] not in OTHER_COMMANDS:
            raise FtxError(f"{words[0]} is no command that the pages may call", "add it here if it is meant")
    return names


def check_extras(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for word in words:
        if found := re.fullmatch(r"(?:ftx-toolchain|\.)\[(.*)\]", word):
            unknown = set(found[1].split(",")) - extras.keys()
            if unknown:
                raise FtxError(f"there is no extra {', '.join(unknown)}", "see pyproject.toml")


def check_target(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in words[1:]:
        if not re.search(rf"^{target}:", makefile, re.MULTILINE):
            raise FtxError(f"there is no target {target}", "see the Makefile")


@pytest.mark.parametrize("block", SHELL)
def test_each_command_of_a_page_is_one_that_ftx_takes(block: Block, plugins):
    if "rounding" in block.code:
        pytest.skip("steps of a package that the block itself makes; tests/core/test_scaffold.py runs them")
    assert check(block.code, plugins), "no command was found in it"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_within_a_sentence_is_one_that_ftx_takes(page: Path, plugins):
    if "plugins" in page.parts:
        pytest.skip("steps of an example's own package")
    refused = []
    for command in inline_commands(page.read_text(encoding="utf-8")):
        try:
            check(command, plugins)
        except (click.MissingParameter, click.BadOptionUsage, click.exceptions.Exit):
            continue  # a sentence may name a command or an option without what it needs, or its help
        except (click.ClickException, FtxError) as error:
            refused.append((command, str(error)))
    assert refused == []


@pytest.mark.parametrize("block", TOML)
def test_each_toml_block_of_a_page_is_valid(block: Block, plugins):
    values = tomllib.loads(block.code)
    if "project" in values or "build-system" in values:
        return
    assert toml_problems(block.code, plugins) == []


@pytest.mark.parametrize("block", PYTHON)
def test_each_python_block_of_a_page_is_python(block: Block):
    compile(block.code, str(block), "exec")
    assert ast.parse(block.code).body, "it holds no statement"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ftx rnu train", "unknown command rnu"),
        ("ftx run trian", "unknown step trian"),
        ("ls && FTX_SEED=1 ftx run train --sett a=b", "No such option"),
        ("ftx run train --set train.epoch=1 > log", "no setting train.epoch"),
        ("ftx run train --set 'quantize.static.smoth=1'", "no setting quantize.static.smoth"),
        ("ftx cache gc --keep many", "not a valid integer"),
        ("ftx cache sweep", "No such command"),
        ("pip install 'ftx-toolchain[serving]'", "no extra serving"),
        ("make dmeo", "no target dmeo"),
        ("fxt run train", "fxt is no command"),
        ("torchrun -m ftx run trian", "unknown step trian"),
    ],
)
def test_a_command_that_ftx_would_not_take_is_found(code, said, plugins):
    with pytest.raises((click.ClickException, FtxError)) as raised:
        check(code, plugins)
    message = raised.value.message if isinstance(raised.value, FtxError) else raised.value.format_message()
    assert said in message


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("[train]\nepoch = 1", "epoch"),
        ("[train]\nepochs = 0", "0"),
        ("[quantize.static]\nsmoth = 1", "smoth"),
        ("[budget]\naccuracy_drop = 2", "2"),
        ("[trian]\nepochs = 1", "trian"),
    ],
)
def test_a_toml_block_that_ftx_would_refuse_is_found(code, said, plugins):
    assert any(said in problem for problem in toml_problems(code, plugins))


def test_markers_are_read_and_a_misspelt_one_is_refused():
    page = "<!-- run, slow, exit 3 -->\n```sh\nftx run\n```\n\n<!-- file: a.toml -->\n```toml\nseed = 1\n```\n"
    first, second = blocks(page)
    assert (first.run, first.slow, first.exit_code, first.line) == (True, True, 3, 2)
    assert (second.run, second.file, second.code) == (False, "a.toml", "seed = 1\n")
    with pytest.raises(ValueError, match="no such marker: run, slwo"):
        blocks("<!-- run, slwo -->\n```sh\nls\n```\n")
