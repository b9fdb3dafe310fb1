"""What a recipe says, and what torch makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx_plugins.checkpoint import LoadedCheckpoint, compute_logits, load_checkpoint
from ftx_plugins.quantize import config as settings
from ftx_plugins.quantize import dynamic
from ftx_plugins.quantize.config import DynamicConfig
from ftx_plugins.quantize.recipe import Recipe, simulate
from ftx_plugins.quantize.torch_dynamic import DynamicLinear, measure, quantize_weight

NAMES = ["bert.encoder.layer.0.query", "bert.encoder.layer.10.query", "bert.pooler.dense", "classifier"]
TEXTS = ["love great car", "the awful phone is bad", "table window", "good"]


@pytest.fixture(scope="module")
def loaded(tiny_classifier: Path) -> LoadedCheckpoint:
    return load_checkpoint(tiny_classifier)


def test_a_recipe_survives_the_manifest() -> None:
    recipe = Recipe(embeddings=True, exclude=("classifier",))
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    with pytest.raises(FtxError, match="scheme 'ternary'"):
        Recipe.from_dict({"scheme": "ternary"})


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("classifier", NAMES[:3]),
        ("*.query", NAMES[2:]),
        ("bert.encoder.layer.1*", [NAMES[0], *NAMES[2:]]),
        ("bert.encoder.layer.0", NAMES[1:]),
        ("bert", ["classifier"]),
    ],
)
def test_a_pattern_leaves_out_what_it_matches_and_all_below(pattern: str, left: list[str]) -> None:
    assert Recipe(exclude=(pattern,)).included(NAMES) == left


@pytest.mark.parametrize("pattern", ["classifer", "query", "bert.encoder.layer.0.quer"])
def test_a_pattern_that_matches_nothing_is_an_error(pattern: str) -> None:
    with pytest.raises(FtxError, match="matches none of the layers"):
        Recipe(exclude=("classifier", pattern)).included(NAMES)


def test_the_simulation_is_near_the_model_and_leaves_it_as_it_is(loaded: LoadedCheckpoint) -> None:
    before = compute_logits(loaded, TEXTS)
    quantized = simulate(loaded.model, Recipe())
    after = compute_logits(LoadedCheckpoint(quantized, loaded.tokenizer, loaded.labels, 64), TEXTS, batch_size=1)
    assert (compute_logits(loaded, TEXTS) == before).all()
    assert 1e-5 < np.abs(after - before).max() < 0.3 * before.std()
    assert (after.argmax(1) == before.argmax(1)).all()


def test_excluded_layers_stay_in_fp32(loaded: LoadedCheckpoint) -> None:
    quantized = simulate(loaded.model, Recipe(exclude=("classifier", "*.query")))
    assert type(quantized.classifier) is torch.nn.Linear
    assert type(quantized.bert.encoder.layer[1].attention.self.query) is torch.nn.Linear
    assert isinstance(quantized.bert.encoder.layer[1].attention.self.key, DynamicLinear)


def test_embeddings_are_quantized_only_on_demand(loaded: LoadedCheckpoint) -> None:
    words = loaded.model.bert.embeddings.word_embeddings
    assert type(simulate(loaded.model, Recipe()).bert.embeddings.word_embeddings) is torch.nn.Embedding
    quantized = simulate(loaded.model, Recipe(embeddings=True)).bert.embeddings.word_embeddings
    ids = torch.arange(len(words.weight))
    step = float(words.weight.detach().max() - words.weight.detach().min()) / 255
    assert quantized.weight.dtype == torch.uint8
    assert float((quantized(ids) - words(ids).detach()).abs().max()) <= 0.51 * step


@pytest.mark.parametrize(("reduce_range", "top"), [(False, 127), (True, 64)])
def test_weights_use_the_whole_range_and_no_more(reduce_range: bool, top: int) -> None:
    weight = torch.randn(4, 16, generator=torch.Generator().manual_seed(0)) * torch.tensor([[1.0], [10], [0.1], [0]])
    levels = quantize_weight(weight, Recipe(reduce_range=reduce_range)).int_repr()
    assert levels.abs().amax(dim=1).tolist() == [top, top, top, 0]


def test_per_channel_scales_cost_less_than_one_scale(loaded: LoadedCheckpoint) -> None:
    channel, tensor = (measure(loaded.model, Recipe(per_channel=flag)) for flag in (True, False))
    assert len(channel) == 2 * 6 + 2
    assert sum(layer.error for layer in channel) < sum(layer.error for layer in tensor)


@pytest.mark.parametrize(
    ("machine", "features", "needed"),
    [("x86_64", "avx2", True), ("x86_64", "avx2 avx512f avx512_vnni", False), ("aarch64", "asimddp", False)],
)
def test_the_range_is_reduced_on_x86_without_an_int8_dot_product_alone(
    monkeypatch: pytest.MonkeyPatch, machine: str, features: str, needed: bool
) -> None:
    monkeypatch.setattr(settings.platform, "machine", lambda: machine)
    monkeypatch.setattr(settings, "processor", lambda: f"Some [old] CPU [{features}]")
    assert DynamicConfig().recipe().reduce_range is needed
    assert DynamicConfig(reduce_range=not needed).recipe().reduce_range is not needed


@pytest.fixture
def checkpoint(tiny_classifier: Path, as_artifact: Callable[..., Artifact]) -> Artifact:
    artifact = as_artifact(tiny_classifier, "checkpoint", task="text-classification", base="tiny")
    (tiny_classifier / "manifest.json").unlink()
    return artifact


def test_on_a_checkpoint_it_decides_and_carries_the_files_over(
    checkpoint: Artifact, make_context: Callable[..., Any]
) -> None:
    context = make_context("quantize:dynamic")
    metrics = dynamic.run(DynamicConfig(exclude=("classifier",)), {"model": checkpoint}, context)
    assert {path.name for path in context.out.iterdir()} == set(checkpoint.manifest.files)
    weights = "model.safetensors"
    assert (context.out / weights).read_bytes() == (checkpoint.path / weights).read_bytes()
    assert context.meta["recipe"]["exclude"] == ["classifier"]
    assert (context.meta["task"], context.meta["base"]) == ("text-classification", "tiny")
    assert metrics["layers"] == 13
    assert metrics["size_mb_after"] < metrics["size_mb_before"]


def test_a_file_of_the_users_is_copied_and_one_of_the_store_is_linked(tmp_path: Path) -> None:
    from ftx_plugins.export.files import carry_over

    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in ("mine", "stored"):
        (source / name).write_text(name)
    (source / "stored").chmod(0o444)
    carry_over(source, target, ["mine", "stored"])
    assert not (target / "mine").samefile(source / "mine")
    assert (target / "stored").samefile(source / "stored")


def test_a_quantized_model_is_not_quantized_again(
    tiny_classifier: Path, tiny_bundle: Artifact, as_artifact: Callable[..., Artifact], make_context: Callable[..., Any]
) -> None:
    with pytest.raises(FtxError, match="this bundle is quantized already"):
        dynamic.run(DynamicConfig(), {"model": tiny_bundle}, make_context())
