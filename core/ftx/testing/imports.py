"""What importing a module brings in, seen from a fresh interpreter."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys

HEAVY = frozenset(
    {
        "accelerate", "datasets", "huggingface_hub", "locust", "mlflow", "nncf", "numpy", "onnx", "onnxruntime",
        "openvino", "optimum", "pandas", "pyarrow", "ray", "safetensors", "scipy", "sklearn", "tensorflow",
        "tokenizers", "torch", "transformers",
    }
)  # fmt: skip
"""Packages that take long to import: `ftx steps` and `ftx plan` load every hooks module, and must not wait for them."""

_CODE = "import importlib, json, sys; [importlib.import_module(name) for name in sys.argv[1:]]; print(); "
_CODE += "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def heavy_imports(*modules: str) -> tuple[str, ...]:
    """The heavy packages that are imported along with `modules`. Raises `RuntimeError` where the import fails."""
    return _heavy_imports(modules, os.pathsep.join(filter(None, sys.path)))


@functools.cache
def _heavy_imports(modules: tuple[str, ...], path: str) -> tuple[str, ...]:
    environment = {**os.environ, "PYTHONPATH": path}
    ran = subprocess.run(
        [sys.executable, "-c", _CODE, *modules], env=environment, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise RuntimeError(ran.stderr.strip().splitlines()[-1] if ran.stderr.strip() else f"exit code {ran.returncode}")
    return tuple(sorted(HEAVY & set(json.loads(ran.stdout.splitlines()[-1]))))
