"""What can be said about a cast while the plan is made."""

from __future__ import annotations

from collections.abc import Iterator

from ftx.errors import Problem
from ftx.step import ModelSettings
from ftx_plugins.quantize.config import CastConfig
from ftx_plugins.train.precision import processor_has_bf16


def check_bf16(config: CastConfig, model: ModelSettings) -> Iterator[Problem]:
    """A processor that cannot multiply in bf16."""
    if not processor_has_bf16():
        yield Problem(
            "this processor has no bf16 (avx512_bf16, amx_bf16 or Arm's bf16)",
            "quantize:bf16",
            ("use int8 instead: ftx run train quantize:static export", "or run it on a machine that has it"),
        )
