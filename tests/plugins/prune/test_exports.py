"""An uneven model goes on: to ONNX, TorchScript, quantization, and training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ftx.artifacts import KINDS, Artifact, Manifest
from ftx.hashing import hash_folder
from ftx_plugins.checkpoint import load_checkpoint, save_checkpoint
from ftx_plugins.export.config import BundleConfig
from ftx_plugins.export.run import run_bundle
from ftx_plugins.prune.anatomy import dissect
from ftx_plugins.prune.surgery import keep_units, settle
from ftx_plugins.quantize.recipe import Recipe
from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.finetune import run as finetune


@pytest.fixture(scope="module")
def uneven(tiny_classifier: Path, architectures: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny classifier with 1 and 2 heads, and FFN widths of 24 and 40."""
    folder = tmp_path_factory.mktemp("uneven")
    loaded = load_checkpoint(tiny_classifier)
    anatomy = dissect(loaded.model, architectures)
    keep_units(anatomy.attention(0), [1])
    keep_units(anatomy.feed_forward(0), list(range(24)))
    keep_units(anatomy.feed_forward(1), list(range(40)))
    settle(anatomy)
    save_checkpoint(loaded, folder)
    return folder


def as_checkpoint(folder: Path, **meta: Any) -> Artifact:
    return KINDS["checkpoint"](folder, Manifest("checkpoint", hash_folder(folder), meta))


def test_an_uneven_model_exports_with_parity_in_every_variant(
    uneven: Path, tiny_dataset: Artifact, make_context: Callable[..., Any]
) -> None:
    context = make_context("export:bundle")
    model = as_checkpoint(uneven, recipe=Recipe().to_dict(), task="text-classification")
    run_bundle(BundleConfig(formats=("onnx", "torchscript")), {"model": model, "data": tiny_dataset}, context)
    parity = {variant["name"]: variant["parity"]["max_difference"] for variant in context.meta["variants"]}
    assert set(parity) == {"onnx-fp32", "torchscript-fp32", "onnx-int8", "torchscript-int8"}
    assert max(parity["onnx-fp32"], parity["torchscript-fp32"]) < 1e-5


def test_an_uneven_model_is_trained_further(
    uneven: Path, architectures: Any, tiny_dataset: Artifact, make_context: Callable[..., Any]
) -> None:
    context = make_context("train:finetune")
    config = TrainConfig(epochs=2, batch_size=16, learning_rate=1e-3, mixed_precision="fp32")
    finetune(config, {"model": as_checkpoint(uneven), "data": tiny_dataset}, context)
    trained = load_checkpoint(context.out).model
    anatomy = dissect(trained, architectures)
    assert (anatomy.heads(), anatomy.widths()) == ([1, 2], [24, 40])
    before = load_checkpoint(uneven).model.state_dict()
    assert not torch.equal(trained.state_dict()["classifier.weight"], before["classifier.weight"])


def test_onnx_fusions_know_uneven_heads(uneven: Path, tiny_dataset: Artifact, make_context: Callable[..., Any]) -> None:
    context = make_context("export:onnx")
    run_bundle(
        BundleConfig(fuse=True, formats=("onnx",)), {"model": as_checkpoint(uneven), "data": tiny_dataset}, context
    )
    assert context.meta["variants"][0]["parity"]["max_difference"] < 1e-5
