"""What most tests of serving start from."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ftx.artifacts import Bundle
from ftx.plugins import PluginManager
from ftx.step import Runtime
from ftx_serving.predictor import Predictor


@pytest.fixture(scope="session")
def runtimes() -> Mapping[str, Runtime]:
    return PluginManager.load(third_party=False).runtimes()


@pytest.fixture(scope="session")
def predictor(tiny_bundle: Bundle, runtimes: Mapping[str, Runtime]) -> Predictor:
    return Predictor.load(tiny_bundle.path, runtimes=runtimes, variant="onnx-fp32", threads=1)
