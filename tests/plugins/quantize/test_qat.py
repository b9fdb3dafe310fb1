"""`quantize:qat`: weights that are trained to live with their levels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ftx.artifacts import Artifact
from ftx.plugins import PluginManager
from ftx_plugins import distillation
from ftx_plugins.checkpoint import LoadedCheckpoint, compute_logits, load_checkpoint
from ftx_plugins.data.splits import load_rows
from ftx_plugins.export.config import OnnxConfig
from ftx_plugins.export.run import run_onnx
from ftx_plugins.quantize import qat
from ftx_plugins.quantize.calibration import load_recipe
from ftx_plugins.quantize.config import QatConfig
from ftx_plugins.quantize.recipe import simulate
from ftx_plugins.quantize.torch_trainable import make_trainable, put_back
from ftx_serving.predictor import Predictor

# Coarse: the ranges leave a tenth of the values out, and a weight has one scale.
COARSE = {"calibration": "percentile", "percentile": 90.0, "smooth": 0.0, "per_channel": False}


def config(**settings: Any) -> QatConfig:
    rows = {"calibration_rows": 64, "choice_rows": 48, "activations": "uint8"}
    return QatConfig(**{**COARSE, **rows, "epochs": 4, "batch_size": 16, "learning_rate": 3e-4, **settings})


@pytest.fixture
def inputs(tiny_checkpoint: Artifact, tiny_dataset: Artifact) -> dict[str, Artifact]:
    return {"model": tiny_checkpoint, "data": tiny_dataset}


@pytest.fixture(scope="module")
def trained(tiny_checkpoint: Artifact, tiny_dataset: Artifact, run_step: Callable[..., Artifact]) -> Artifact:
    return run_step(qat.run, config(), {"model": tiny_checkpoint, "data": tiny_dataset}, "checkpoint")


def test_it_brings_a_coarsely_quantized_model_nearer_to_fp32(trained: Artifact, loaded: LoadedCheckpoint) -> None:
    kl = trained.manifest.metrics["kl"]
    assert kl["after"] < 0.8 * kl["before"]
    weights = load_checkpoint(trained.path).model.state_dict()
    before = loaded.model.state_dict()
    assert weights.keys() == before.keys()
    assert not torch.equal(weights["classifier.weight"], before["classifier.weight"])


def test_its_checkpoint_gives_in_onnx_what_it_gives_in_the_simulation(
    trained: Artifact, tiny_dataset: Artifact, run_step: Callable[..., Artifact]
) -> None:
    bundle = run_step(run_onnx, OnnxConfig(), {"model": trained, "data": tiny_dataset}, "bundle")
    texts = load_rows(tiny_dataset, "test").texts
    runtimes = PluginManager.load(third_party=False).runtimes()
    exported = Predictor.load(bundle.path, runtimes=runtimes, variant="onnx-int8").logits(texts)
    recipe, own = load_recipe(trained), load_checkpoint(trained.path)
    assert recipe is not None
    exact = compute_logits(own, texts)
    own.model = simulate(own.model, recipe)
    simulated = compute_logits(own, texts)
    loss = np.sqrt(((simulated - exact) ** 2).mean())
    assert loss > 1e-3
    assert np.sqrt(((exported - simulated) ** 2).mean()) < loss / 4


def test_what_is_trained_computes_what_the_simulation_does(trained: Artifact, loaded: LoadedCheckpoint) -> None:
    recipe = load_recipe(trained)
    assert recipe is not None
    ids = torch.randint(5, 40, (3, 9), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        simulated = simulate(loaded.model, recipe)(ids).logits
    replaced = make_trainable(loaded.model, recipe)
    try:
        logits = loaded.model(ids).logits
        logits.sum().backward()
        assert torch.allclose(logits, simulated, atol=1e-4)
        word = loaded.model.get_submodule("bert.embeddings.word_embeddings").weight
        assert word.grad.abs().sum() > 0
    finally:
        put_back(loaded.model, replaced)
        loaded.model.zero_grad()
    assert {type(module) for module in replaced.values()} == {torch.nn.Linear, torch.nn.Embedding}


def test_a_killed_training_goes_on_in_the_middle_of_an_epoch_and_arrives_where_it_would_have(
    trained: Artifact,
    inputs: dict[str, Artifact],
    make_context: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recorder: Any,
) -> None:
    steps = distillation._Distiller._step
    taken = 0

    def killed_in_time(self: Any, rows: Any) -> float:
        nonlocal taken
        if taken == 9:
            raise KeyboardInterrupt
        taken += 1
        return steps(self, rows)

    monkeypatch.setattr(distillation, "SECONDS_BETWEEN_SAVES", -1.0)
    monkeypatch.setattr(distillation._Distiller, "_step", killed_in_time)
    context = make_context("quantize:qat", work=tmp_path / "work")
    with pytest.raises(KeyboardInterrupt):
        qat.run(config(), inputs, context)
    monkeypatch.setattr(distillation._Distiller, "_step", steps)
    metrics = qat.run(config(), inputs, make_context("quantize:qat", work=tmp_path / "work"))
    assert any("qat resumed at epoch 1, step 3" in message for message in recorder.messages("log"))
    assert metrics["training"] == trained.manifest.metrics["training"]
    assert metrics["kl"] == trained.manifest.metrics["kl"]
