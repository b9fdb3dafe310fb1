"""What can be said about an export while the plan is made."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from ftx.errors import Problem
from ftx.step import ModelSettings
from ftx_plugins.export.config import BundleConfig


def check_formats(config: BundleConfig, model: ModelSettings) -> Iterator[Problem]:
    """A format whose package is not installed. The others are required by the step itself."""
    if "openvino" in config.formats and find_spec("openvino") is None:
        yield Problem(
            "the format openvino needs openvino, not installed",
            "export.formats",
            ("pip install 'ftx-toolchain[openvino]'", "or leave the format out: --set 'export.formats=[\"onnx\"]'"),
        )
