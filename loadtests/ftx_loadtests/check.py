"""What a plan knows about a load test before anything runs."""

from __future__ import annotations

from collections.abc import Iterator

from ftx.errors import Problem
from ftx.step import ModelSettings
from ftx_loadtests.hooks import LoadTestConfig
from ftx_loadtests.settings import missing


def check(config: LoadTestConfig, model: ModelSettings) -> Iterator[Problem]:
    """Settings without which the suite cannot begin."""
    for name, example in missing(config.suite, config.rate, config.slo_p99_ms, config.capacity):
        message = f"the suite {config.suite} needs {name}"
        yield Problem(message, f"loadtest.{name}", (f"--set loadtest.{name}={example}",))
