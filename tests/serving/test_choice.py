"""A bundle that carries a choice, on the machine that it was measured on and elsewhere."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ftx import machine
from ftx.artifacts import MANIFEST, Artifact
from ftx.plugins import PluginManager
from ftx.step import Runtime
from ftx_serving.choice import Choice, describe_machine
from ftx_serving.predictor import Predictor

RUNTIMES = PluginManager.load(third_party=False).runtimes()
Chosen = Callable[..., Path]


@pytest.fixture
def chosen(tiny_bundle: Artifact, tmp_path: Path, as_artifact: Callable[..., Artifact]) -> Chosen:
    """`chosen(**machine)`: a bundle whose choice is onnx-fp32 with 7 threads, its first variant being onnx-int8."""

    def make(**changed: Any) -> Path:
        folder = shutil.copytree(tiny_bundle.path, tmp_path / "bundle")
        (folder / MANIFEST).unlink()
        where = {**describe_machine("cpu"), **changed}
        choice = {"variant": "onnx-fp32", "runtime": "onnxruntime", "threads": 7, "machine": where}
        as_artifact(folder, "bundle", **{**tiny_bundle.meta, "choice": choice})
        return folder

    return make


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The numbers of threads that ONNX Runtime was loaded with."""
    from ftx_serving.runtimes import onnxruntime

    seen: list[int | None] = []
    load = onnxruntime.load

    def noting(folder: Path, variant: Mapping[str, Any], device: str, number: int | None) -> Any:
        seen.append(number)
        return load(folder, variant, device, 1)

    monkeypatch.setattr(onnxruntime, "load", noting)
    return seen


@pytest.fixture(autouse=True)
def _no_warning() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def test_the_choice_is_used_on_the_machine_that_it_was_made_on(chosen: Chosen, threads: list[int | None]) -> None:
    assert Predictor.load(chosen(), runtimes=RUNTIMES).variant.name == "onnx-fp32"
    assert threads == [7]


def test_with_another_number_of_cores_the_variant_holds_and_its_threads_do_not(
    chosen: Chosen, threads: list[int | None]
) -> None:
    assert Predictor.load(chosen(cores=machine.cores() + 1), runtimes=RUNTIMES).variant.name == "onnx-fp32"
    assert threads == [None]


def test_on_another_processor_it_warns_once_and_takes_the_bundles_order(chosen: Chosen) -> None:
    said: list[str] = []
    folder = chosen(processor="Abacus 9 [beads]")
    assert Predictor.load(folder, runtimes=RUNTIMES, warn=said.append).variant.name == "onnx-int8"
    [message] = said
    assert "Abacus 9" in message
    assert message.endswith("measure here: ftx bench REF")


def test_who_names_a_variant_gets_it_without_a_warning(chosen: Chosen) -> None:
    folder = chosen(processor="Abacus 9 [beads]")
    for name in ("onnx-fp32", "torchscript-fp32"):
        assert Predictor.load(folder, runtimes=RUNTIMES, variant=name).variant.name == name


def test_threads_that_are_asked_for_win(chosen: Chosen, threads: list[int | None]) -> None:
    Predictor.load(chosen(), runtimes=RUNTIMES, threads=3)
    assert threads == [3]


def test_without_the_chosen_runtime_it_says_so_and_takes_another(chosen: Chosen) -> None:
    lacking: Mapping[str, Runtime] = {name: runtime for name, runtime in RUNTIMES.items() if name != "onnxruntime"}
    said: list[str] = []
    assert Predictor.load(chosen(), runtimes=lacking, warn=said.append).variant.name == "torchscript-int8"
    assert said == ["onnx-fp32 was chosen with onnxruntime, not installed here: the bundle's own order is used"]


def test_a_choice_for_a_processor_says_nothing_about_a_gpu() -> None:
    raw = {"variant": "onnx-int8", "runtime": "onnxruntime", "threads": 1, "machine": describe_machine("cpu")}
    choice = Choice.from_meta({"choice": raw})
    said: list[str] = []
    assert choice is not None
    assert choice.holds_here("cpu", said.append)
    assert not choice.holds_here("cuda", said.append)
    assert not said
