"""What can be said about an export while the plan is made."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from ftx.errors import Problem
from ftx.step import ModelSettings
from ftx.tasks import TEXT_CLASSIFICATION, TOKEN_CLASSIFICATION
from ftx_plugins.export.config import BundleConfig, ExportConfig


def check_export(config: ExportConfig, model: ModelSettings) -> Iterator[Problem]:
    """Several labels have thresholds, and a number has no score; entities of windows cannot be averaged."""
    if config.abstain_below is not None and model.task != TEXT_CLASSIFICATION:
        yield Problem(
            f"abstaining is for {TEXT_CLASSIFICATION}, and model.task is {model.task}",
            "export.abstain_below",
            ("leave it out of [export]",),
        )
    if config.long_text == "window" and model.task == TOKEN_CLASSIFICATION:
        yield Problem(
            f"texts are not read in windows where model.task is {model.task}",
            "export.long_text",
            ('cut them: --set export.long_text="truncate"',),
        )


def check_bundle(config: BundleConfig, model: ModelSettings) -> Iterator[Problem]:
    """Besides, a format whose package is not installed. The others are required by the step itself."""
    yield from check_export(config, model)
    if "openvino" in config.formats and find_spec("openvino") is None:
        yield Problem(
            "the format openvino needs openvino, not installed",
            "export.formats",
            ("pip install 'ftx-toolchain[openvino]'", "or leave the format out: --set 'export.formats=[\"onnx\"]'"),
        )
