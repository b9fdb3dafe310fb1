"""OpenVINO's IR: what is written, and what a plan says of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openvino as ov
import pytest

from ftx.artifacts import Artifact
from ftx.step import ModelSettings
from ftx_plugins.checkpoint import load_checkpoint
from ftx_plugins.export import check
from ftx_plugins.export.config import BundleConfig
from ftx_plugins.export.openvino_exporter import embedding_nodes, export_openvino, linear_nodes
from ftx_plugins.export.run import _say_what_is_not_reached
from ftx_plugins.quantize.recipe import Recipe


@pytest.fixture(scope="module")
def exported(tiny_classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The tiny classifier exported twice in one process."""
    loaded = load_checkpoint(tiny_classifier)
    inputs = dict(loaded.tokenizer(["good car", "this is an awful phone"], padding=True, return_tensors="pt"))
    files = [tmp_path_factory.mktemp("openvino") / "model.xml" for _ in range(2)]
    for file in files:
        export_openvino(loaded.model, inputs, file, max_length=loaded.max_length)
    return files


def test_layers_bear_the_names_of_their_modules(exported: list[Path]) -> None:
    program = ov.Core().read_model(exported[0])
    linear = linear_nodes(program)
    assert len(linear) == 14
    assert {"classifier", "bert.pooler.dense", "bert.encoder.layer.1.attention.self.query"} <= set(linear)
    assert "bert.embeddings.word_embeddings" in embedding_nodes(program)


def test_batch_is_free_and_length_ends_at_the_longest_input(exported: list[Path]) -> None:
    for value in ov.Core().read_model(exported[0]).inputs:
        batch, length = value.get_partial_shape()
        assert batch.is_dynamic
        assert (length.get_min_length(), length.get_max_length()) == (1, 64)


def test_the_same_model_gives_the_same_bytes_without_folders_of_this_machine(exported: list[Path]) -> None:
    for suffix in (".xml", ".bin"):
        assert exported[0].with_suffix(suffix).read_bytes() == exported[1].with_suffix(suffix).read_bytes()
    assert str(Path(ov.__file__).parents[1]).encode() not in exported[0].read_bytes()


REPORTS = """
import importlib, os, sys
os.environ.pop("CI", None)
for module in sys.argv[1:]:
    importlib.import_module(module)
assert "openvino" in sys.modules
from openvino_telemetry import Telemetry
print(Telemetry().consent, "CI" in os.environ)
"""


@pytest.mark.parametrize(
    "module",
    ["ftx_plugins.export.openvino_exporter", "ftx_plugins.export.openvino_quantizer", "ftx_serving.runtimes.openvino"],
)
def test_openvino_reports_to_nobody_from_its_import_on(module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", REPORTS, module]
    ran = subprocess.run(command, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]
    assert not (tmp_path / "intel").exists()


def test_the_conversion_reports_to_nobody(exported: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from ftx_serving.telemetry import without_telemetry

    monkeypatch.delenv("CI", raising=False)
    with without_telemetry():
        assert os.environ["CI"] == "true"
    assert "CI" not in os.environ


def test_a_format_whose_package_is_missing_is_a_problem_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "find_spec", lambda name: None)
    [problem] = check.check_bundle(BundleConfig(formats=("openvino", "onnx")), ModelSettings("tiny"))
    assert "pip install 'ftx-toolchain[openvino]'" in problem.hints
    assert not list(check.check_bundle(BundleConfig(formats=("onnx", "torchscript")), ModelSettings("tiny")))


@pytest.mark.parametrize(
    ("recipe", "formats", "said"),
    [
        (Recipe(), ("openvino",), "openvino gets fp32 alone: a dynamic int8 recipe cannot be carried out for it"),
        (Recipe(scheme="cast", weights="fp16"), ("torchscript",), "torchscript gets fp32 alone: a cast fp16 recipe"),
        (Recipe(scheme="static"), ("onnx",), "OpenVINO is installed and can run this static int8 recipe: --set"),
    ],
)
def test_what_a_recipe_does_not_reach_is_said(
    recipe: Recipe, formats: tuple[str, ...], said: str, make_context: Callable[..., Any], recorder: Any
) -> None:
    _say_what_is_not_reached(recipe, formats, make_context())
    assert any(said in message for message in recorder.messages("log"))


def test_a_bundle_of_a_dynamic_recipe_is_unchanged_by_default(tiny_bundle: Artifact) -> None:
    assert BundleConfig().formats == ("openvino", "onnx", "torchscript")
    assert tiny_bundle.meta["variants"][0]["name"] == "onnx-int8"
