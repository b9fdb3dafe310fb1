"""A static recipe for the tiny classifier, and the bundle that is made of it, once a session."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftx.artifacts import KINDS, MANIFEST, Artifact, Manifest
from ftx.hashing import hash_folder
from ftx.plugins import PluginManager
from ftx.step import Context, ModelSettings
from ftx_plugins.checkpoint import LoadedCheckpoint, load_checkpoint


@pytest.fixture(scope="session")
def run_step(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Artifact]:
    """`run_step(run, config, inputs, kind)`: the artifact that the step makes."""

    def call(run: Any, config: Any, inputs: dict[str, Artifact], kind: str) -> Artifact:
        root = tmp_path_factory.mktemp("step")
        out, work = root / "out", root / "work"
        out.mkdir()
        work.mkdir()
        plugins = PluginManager.load(third_party=False)
        context = Context("quantize:static", out, work, 0, "cpu", ModelSettings("tiny"), plugins)
        metrics = run(config, inputs, context)
        manifest = Manifest(kind, hash_folder(out), json.loads(json.dumps(context.meta)), metrics)
        (out / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        return KINDS[kind](out, manifest)

    return call


@pytest.fixture(scope="session")
def static_checkpoint(tiny_checkpoint: Artifact, tiny_dataset: Artifact, run_step: Callable[..., Artifact]) -> Artifact:
    """The tiny classifier with a static recipe, smoothed."""
    from ftx_plugins.quantize import static
    from ftx_plugins.quantize.config import StaticConfig

    config = StaticConfig(calibration="min-max", smooth=0.75, calibration_rows=64, choice_rows=32, activations="uint8")
    return run_step(static.run, config, {"model": tiny_checkpoint, "data": tiny_dataset}, "checkpoint")


@pytest.fixture(scope="session")
def static_bundle(static_checkpoint: Artifact, tiny_dataset: Artifact, run_step: Callable[..., Artifact]) -> Artifact:
    """The same in all three formats: five variants."""
    from ftx_plugins.export.config import BundleConfig
    from ftx_plugins.export.run import run_bundle

    config = BundleConfig(formats=("openvino", "onnx", "torchscript"))
    return run_step(run_bundle, config, {"model": static_checkpoint, "data": tiny_dataset}, "bundle")


@pytest.fixture(scope="session")
def loaded(tiny_classifier: Path) -> LoadedCheckpoint:
    return load_checkpoint(tiny_classifier)
