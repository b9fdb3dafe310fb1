"""The README's commands, run as they stand, by a newcomer with a csv and a model folder of the name in the README."""

from __future__ import annotations

import re
from pathlib import Path

from ftx.testing.documentation import blocks

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE_README = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
BENCHMARKS = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
BLOCKS = [block for block in blocks(README) if block.run]
CHINESE = [block for block in blocks(CHINESE_README) if block.run]


def test_every_command_of_the_readme_runs_in_the_order_it_is_shown(project, run_block):
    assert len(BLOCKS) == 3
    for block in BLOCKS:
        run_block(block, project)


def test_the_chinese_readme_runs_nothing_that_the_other_does_not():
    assert len(CHINESE) == 2
    assert {block.code for block in CHINESE} <= {block.code for block in BLOCKS}


def test_the_commands_that_the_readme_starts_with_are_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def region(page: str, name: str) -> str:
    """What stands between a page's `<!-- name -->` and `<!-- /name -->`."""
    (found,) = re.findall(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", page, re.DOTALL)
    return found


def rows(table: str) -> list[list[str]]:
    """The cells of a table's lines, without the line of dashes."""
    lines = [line for line in table.splitlines() if line.startswith("|") and not re.fullmatch(r"[|\-]+", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def measured() -> dict[tuple[str, str], str]:
    """(Deployment, column) -> figure, of all tables of deployments of the page on benchmarks.

    Of columns with one title the first counts: ratios are told in batches, and then alone.
    """
    found: dict[tuple[str, str], str] = {}
    for table in re.findall(r"^\| deployment .*?\n\n", BENCHMARKS, re.DOTALL | re.MULTILINE):
        titles, *figures = rows(table)
        for name, *cells in figures:
            short = name.partition(":")[0].replace(", half the operations", ", half")
            for title, cell in zip(titles[1:], cells, strict=True):
                found.setdefault((short, title), cell)
    return found


def test_the_figures_of_the_readme_are_those_that_were_measured():
    titles, *shown = rows(region(README, "benchmarks"))
    assert len(shown) == 5
    figures = measured()
    for name, *cells in shown:
        for title, cell in zip(titles[1:], cells, strict=True):
            assert cell == figures[name, title], (name, title)


def test_the_scoreboard_of_the_readme_is_the_one_of_the_benchmarks():
    assert region(README, "scoreboard") == region(BENCHMARKS, "scoreboard")
    assert region(README, "scoreboard").count("\n") > 20


def test_both_readmes_have_the_same_figures():
    english, chinese = (rows(region(page, "benchmarks")) for page in (README, CHINESE_README))
    assert [cells[1:] for cells in english[1:]] == [cells[1:] for cells in chinese[1:]]


def test_every_file_that_a_readme_or_a_page_links_to_is_there():
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            generated = target.startswith(("reference/", "../reference/"))
            assert generated or (page.parent / target).exists(), f"{page.name} -> {target}"


def test_the_picture_is_small():
    assert (ROOT / "docs" / "report.webp").stat().st_size < 150_000
