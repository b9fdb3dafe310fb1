"""The README's commands, run as they stand, by a newcomer with a csv and a model folder of the name in the README."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- run -->\n```(sh|python)\n(.*?)```", re.DOTALL)
BLOCKS = BLOCK.findall(README)
LONG_BLOCKS = re.findall(r"<!-- run, slow -->\n```sh\n(.*?)```", README, re.DOTALL)
TEXTS = {"好": ["服务很好", "味道不错", "下次还来", "非常满意"], "差": ["服务很差", "味道一般", "不会再来", "非常失望"]}


@pytest.fixture(scope="module")
def project(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with reviews.csv, and with a small encoder in the place of the hub's `bert-base-chinese`."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(tiny_encoder, folder / "bert-base-chinese")
    rows = [f"{text}，{number}号,{label}" for label, texts in TEXTS.items() for number in range(40) for text in texts]
    (folder / "reviews.csv").write_text("review,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return folder


LITTLE = {
    "FTX_CHOOSE__SECONDS": "0.02",
    "FTX_CHOOSE__THREADS": "[1]",
    "FTX_EVALUATE__INVARIANCE_ROWS": "12",
    "FTX_EXPORT__PARITY_TEXTS": "8",
    "FTX_QUANTIZE__CALIBRATION": "min-max",
    "FTX_QUANTIZE__SMOOTH": "0.0",
}
"""Settings that make the commands do little; what they do is the same."""


def test_every_command_of_the_readme_runs_in_the_order_it_is_shown(project):
    assert len(BLOCKS) == 4
    for language, code in BLOCKS:
        run_block(language, code, project)


@pytest.mark.slow
def test_the_commands_of_the_readme_that_take_long_run_too(project):
    assert len(LONG_BLOCKS) == 4
    run_block("sh", "test -e ftx.toml && echo there || ftx init --model bert-base-chinese --data reviews.csv", project)
    for code in LONG_BLOCKS:
        run_block("sh", code, project)


def run_block(language: str, code: str, project: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **LITTLE}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", code] if language == "sh" else [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{code}\n{ran.stdout}\n{ran.stderr}"
    assert ran.stdout


def test_the_chinese_readme_runs_nothing_that_the_other_does_not():
    assert len(BLOCK.findall(CHINESE)) == 2
    assert set(BLOCK.findall(CHINESE)) <= set(BLOCKS)


def test_the_commands_that_the_readme_starts_with_are_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_budget_of_the_readme_is_valid():
    import tomllib

    from ftx.config import BudgetTable

    blocks = re.findall(r"```toml\n(\[budget\].*?)```", README, re.DOTALL)
    tables = [BudgetTable(**tomllib.loads(block)["budget"]).model_dump() for block in blocks]
    unset = {name for name in tables[0] if all(table[name] is None for table in tables)}
    assert unset <= {"metric_drop"}  # shown beside the tasks that it is for
