"""A serving machine has no torch."""

from __future__ import annotations

import subprocess
import sys

from ftx.artifacts import Artifact

PREDICT = """
import sys
from ftx_serving.hooks import ftx_runtimes
from ftx_serving.predictor import Predictor
runtimes = {runtime.name: runtime for runtime in ftx_runtimes()}
print(Predictor.load(sys.argv[1], runtimes=runtimes).predict(["love great"])[0][0]["label"])
print(sorted({"torch", "transformers", "datasets", "pyarrow", "ftx_plugins"} & set(sys.modules)))
"""


def test_a_bundle_predicts_without_torch_or_transformers(tiny_bundle: Artifact) -> None:
    command = [sys.executable, "-c", PREDICT, str(tiny_bundle.path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["positive", "[]"]


EVERY_MODULE = """
import importlib, pkgutil, sys
import ftx_serving
for module in pkgutil.walk_packages(ftx_serving.__path__, "ftx_serving."):
    importlib.import_module(module.name)
print(sorted({"torch", "transformers", "datasets", "ftx_plugins"} & set(sys.modules)))
"""


def test_no_module_of_serving_imports_torch_or_transformers() -> None:
    result = subprocess.run([sys.executable, "-c", EVERY_MODULE], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
