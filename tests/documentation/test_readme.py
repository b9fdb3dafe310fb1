"""The README's commands, run as they stand, by a newcomer with a csv and a model folder of the name in the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ftx.testing.documentation import Block, blocks

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [block for block in blocks(README) if block.run]
CHINESE = [block for block in blocks((ROOT / "README.zh-CN.md").read_text(encoding="utf-8")) if block.run]


def test_every_command_of_the_readme_runs_in_the_order_it_is_shown(project, run_block):
    short = [block for block in BLOCKS if not block.slow]
    assert len(short) == 4
    for block in short:
        run_block(block, project)


@pytest.mark.slow
def test_the_commands_of_the_readme_that_take_long_run_too(project, run_block):
    long = [block for block in BLOCKS if block.slow]
    assert len(long) == 4
    there = "test -e ftx.toml && echo there || ftx init --model bert-base-chinese --data reviews.csv"
    run_block(Block("sh", there, 0, run=True), project)
    for block in long:
        run_block(block, project)


def test_the_chinese_readme_runs_nothing_that_the_other_does_not():
    assert len(CHINESE) == 2
    assert {block.code for block in CHINESE} <= {block.code for block in BLOCKS}


def test_the_commands_that_the_readme_starts_with_are_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
