"""`export.long_text` and `export.abstain_below` reach the bundle, and are refused where they mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx.plugins import PluginManager
from ftx.step import ModelSettings
from ftx.testing import tiny
from ftx_plugins.checkpoint import load_checkpoint
from ftx_plugins.export.check import check_export
from ftx_plugins.export.config import ExportConfig
from ftx_plugins.export.tokenizer import contract_of
from ftx_serving.contract import Contract
from ftx_serving.golden import check_golden
from ftx_serving.predictor import Predictor


def test_a_bundle_has_the_policies_and_its_golden_examples_follow_them(
    tiny_checkpoint: Artifact, tiny_dataset: Artifact, tmp_path: Path
) -> None:
    plugins = PluginManager.load(third_party=False)
    inputs = {"model": tiny_checkpoint, "data": tiny_dataset}
    settings: dict[str, Any] = {"long_text": "window", "abstain_below": 0.6}
    bundle = tiny.make_with(plugins.steps()["export:onnx"], tmp_path, inputs, plugins, **settings)
    contract = Contract.from_meta(bundle.meta)
    assert (contract.long_text, contract.abstain_below) == ("window", 0.6)
    check_golden(bundle, Predictor.load(bundle.path, runtimes=plugins.runtimes()))


def test_pairs_are_not_read_in_windows(tiny_classifier: Path) -> None:
    with pytest.raises(FtxError, match="pairs of texts are not read in windows"):
        contract_of(load_checkpoint(tiny_classifier), pair=True, long_text="window")


@pytest.mark.parametrize("task", ["regression", "multi-label-classification"])
def test_abstaining_is_for_one_label_a_text(task: str) -> None:
    [problem] = check_export(ExportConfig(abstain_below=0.5), ModelSettings("tiny", task=task))
    assert "abstaining is for text-classification" in str(problem)
    assert not list(check_export(ExportConfig(long_text="window"), ModelSettings("tiny", task=task)))
