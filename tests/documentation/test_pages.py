"""The pages' commands, carried out as they stand: the tutorial on real tweets, the others on reviews; tiny models."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ftx.testing.documentation import Block, blocks

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def marked(page: Path) -> list[Block]:
    return [block for block in blocks(page.read_text(encoding="utf-8")) if block.run or block.file]


# Each starts where `ftx run train quantize export` has been done once, and needs nothing of another page.
PAGES = sorted(page for page in DOCS.glob("*/*.md") if marked(page))
INIT = "rm -f ftx.toml && ftx init --model bert-base-chinese --data reviews.csv"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tutorial_can_be_followed_from_top_to_bottom(run_block, tiny_encoder, tmp_path):
    tiny = {
        "FTX_MODEL__NAME": str(tiny_encoder),
        "FTX_DATA__MAX_TRAIN_ROWS": "200",
        "FTX_DATA__MAX_VALIDATION_ROWS": "60",
        "FTX_DATA__MAX_TEST_ROWS": "60",
        "FTX_BUDGET__ACCURACY_DROP": "0.5",
        "FTX_QUANTIZE__FLIP_RATE": "1.0",
        "FTX_QUANTIZE__ACCURACY_DROP": "1.0",
    }
    tutorial = marked(DOCS / "tutorial.md")
    assert len(tutorial) == 8
    for block in tutorial:
        run_block(block, tmp_path, tiny)
    assert (tmp_path / "report.html").is_file()


@pytest.fixture(scope="module")
def done(project: Path, run_block) -> Path:
    """The project after the main job, once for all pages."""
    run_block(Block("sh", f"{INIT}\nftx run train quantize export", 0, run=True), project)
    return project


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run_in_the_order_they_are_shown(page, done, run_block):
    run_block(Block("sh", INIT, 0, run=True), done)
    shutil.rmtree(done / "production", ignore_errors=True)
    found = marked(page)
    assert any(block.run for block in found), "files are written, and nothing is run with them"
    for block in found:
        run_block(block, done)


def test_the_site_is_built_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert {path.name for path in (tmp_path / "reference").iterdir()} >= {"commands.html", "configuration.html"}


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in DOCS.glob("**/*.md"):
        assert page.relative_to(DOCS).as_posix() in navigation
