"""A newcomer's folder: a csv of reviews, and a small encoder of the name that the pages use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ftx.testing.documentation import Block

TEXTS = {"好": ["服务很好", "味道不错", "下次还来", "非常满意"], "差": ["服务很差", "味道一般", "不会再来", "非常失望"]}
LITTLE = {
    "FTX_CHOOSE__SECONDS": "0.02",
    "FTX_CHOOSE__THREADS": "[1]",
    "FTX_EVALUATE__INVARIANCE_ROWS": "12",
    "FTX_EXPORT__PARITY_TEXTS": "8",
    "FTX_QUANTIZE__CALIBRATION": "min-max",
    "FTX_QUANTIZE__SMOOTH": "0.0",
}
"""Settings that make the commands do little; what they do is the same."""

RunBlock = Callable[..., None]


@pytest.fixture(scope="module")
def project(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with reviews.csv, and with a small encoder in the place of the hub's `bert-base-chinese`."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copytree(tiny_encoder, folder / "bert-base-chinese")
    rows = [f"{text}，{number}号,{label}" for label, texts in TEXTS.items() for number in range(40) for text in texts]
    (folder / "reviews.csv").write_text("review,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def run_block() -> RunBlock:
    """`run_block(block, folder, settings={})`: carries out what the block's marker says, as the page's reader would."""

    def run(block: Block, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        if block.file is not None:
            (folder / block.file).write_text(block.code, encoding="utf-8")
        if not block.run:
            return
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **LITTLE, **(settings or {})}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        shell = ["bash", "-euo", "pipefail", "-c", block.code]
        command = shell if block.language == "sh" else [sys.executable, "-c", block.code]
        ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == block.exit_code, f"{block}\n{block.code}\n{ran.stdout}\n{ran.stderr}"
        assert ran.stdout or block.exit_code or ">" in block.code, f"{block} says nothing"

    return run
