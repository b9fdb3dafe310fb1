"""Fenced blocks of Markdown pages, and what of them can be checked without running them.

A block may have a marker, an HTML comment on the line above it, which the page does not show:

    <!-- run -->              run by the tests, in the order of the page
    <!-- run, slow -->        the same, by the slow tests
    <!-- run, exit 3 -->      the same, and expected to end with this exit code
    <!-- file: ftx.toml -->   written to this file before what comes after it is run
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ftx.cli import cli
from ftx.config import Config, parse_value
from ftx.errors import FtxError, Problem
from ftx.plugins import PluginManager
from ftx.schema import project_schema
from ftx.step import Step
from ftx.step_settings import find_step

FENCE = re.compile(
    r"^(?:<!-- (?P<marker>[^\n]*?) -->\n)?(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
ENDS = frozenset({"|", "||", "&&", ";", "&", "(", ")"})
"""What ends one command of a shell's line."""
PLACEHOLDER = re.compile(r"…|\b[A-Z]+\b")
"""What stands for words of the reader's own."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and what its marker says."""

    language: str
    code: str
    line: int
    """Where it starts on its page, from 1."""
    run: bool = False
    slow: bool = False
    exit_code: int = 0
    file: str | None = None

    def __str__(self) -> str:
        return f"line {self.line}, {self.language}"


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in their order. Raises `ValueError` for a marker that says something else."""
    return [_block(match, text) for match in FENCE.finditer(text)]


def _block(match: re.Match[str], text: str) -> Block:
    line = text.count("\n", 0, match.start("language")) + 1
    language, code, marker = match["language"], match["code"], match["marker"] or ""
    if file := re.fullmatch(r"file: (\S+)", marker):
        return Block(language, code, line, file=file[1])
    if says := re.fullmatch(r"run(, slow)?(?:, exit (\d+))?", marker):
        return Block(language, code, line, run=True, slow=bool(says[1]), exit_code=int(says[2] or 0))
    if marker.startswith(("run", "file")):
        raise ValueError(f"line {line}: no such marker: {marker}")
    return Block(language, code, line)


def commands(code: str) -> Iterator[list[str]]:
    """The commands of a shell's block, each as its words, without redirections and variables set before it."""
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word in ENDS:
                if command := _plain(words):
                    yield command
                words = []
            else:
                words.append(word)


def _plain(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip or re.fullmatch(r"[<>]+", word):
            skip = not skip
        elif kept or not re.fullmatch(r"\w+=.*", word):
            kept.append(word)
    return kept


def check_command(words: Sequence[str], plugins: PluginManager) -> None:
    """Whether `ftx` would take these words (`ftx` the first of them): command, options, steps, settings.

    Nothing is run. Raises `click.ClickException` or `FtxError` for what it would not take.
    """
    context = cli.make_context("ftx", list(words[1:]))
    command: click.Command = cli
    while isinstance(command, click.Group) and (rest := _rest(context)):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None and name is not None  # or else it has raised
        command = found
        context = command.make_context(name, rest, parent=context)
    _check_words(context.params, plugins)


def _rest(context: click.Context) -> list[str]:
    """The words behind a group's own options. click 8 keeps the first of them apart."""
    return [*getattr(context, "_protected_args", ()), *context.args]


def inline_commands(text: str) -> Iterator[str]:
    """The commands of `ftx` that stand between backticks in a page's sentences, but for those with placeholders."""
    for code in re.findall(r"`(ftx [^`\n]+)`", FENCE.sub("", text)):
        if not PLACEHOLDER.search(code) and not re.search(r"\w\|\w", code):
            yield code


def _check_words(given: dict[str, Any], plugins: PluginManager) -> None:
    config = Config(Path(), None)
    steps = given.get("steps", ())
    for word in (steps,) if isinstance(steps, str) else steps:
        if isinstance(found := find_step(word, config, plugins), Problem):
            raise FtxError(found.message, *found.hints)
    for setting in given.get("settings", ()):
        key, _, value = setting.partition("=")
        if not PLACEHOLDER.search(key):
            _check_setting(key.split("."), parse_value(value), plugins)


def _check_setting(key: Sequence[str], value: Any, plugins: PluginManager) -> None:
    """Whether there is such a setting. Its value is not looked at: to `ftx sweep` it may be a range."""
    properties = project_schema(plugins)[0]["properties"]
    for name in key:
        if name not in properties:
            raise FtxError(f"there is no setting {'.'.join(key)}", "see what there is: ftx steps")
        inside = properties[name]
        options = [inside, *inside.get("anyOf", ())]
        properties = {inner: field for option in options for inner, field in option.get("properties", {}).items()}


def toml_problems(code: str, plugins: PluginManager) -> list[str]:
    """What is wrong with a block as a part of ftx.toml. Raises `tomllib.TOMLDecodeError` for what is no TOML.

    Needs `jsonschema`. What must be set may be missing, and files need not be there.
    """
    from jsonschema import Draft202012Validator

    values = tomllib.loads(code)
    found = [error.message for error in Draft202012Validator(project_schema(plugins)[0]).iter_errors(values)]
    return found + [problem for step in plugins.steps().values() for problem in _step_problems(step, values)]


def _step_problems(step: Step, values: dict[str, Any]) -> Iterator[str]:
    """What the step's own settings say of the values that reach it: bounds, and rules over several fields."""
    from ftx.config import validate

    table = values.get(step.stage, {})
    own = table.get(step.name, {})
    fields = step.config.model_fields
    reaching = {name: value for name, value in table.items() if name in fields and not isinstance(value, dict)}
    _, problems = validate(step.config, {**reaching, **(own if isinstance(own, dict) else {})}, {}, step.stage)
    yield from (problem.message for problem in problems if not problem.message.endswith("is not set"))
