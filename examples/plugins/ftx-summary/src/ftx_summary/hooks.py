"""The command `ftx summary` and the metric `calibration_error`."""

from __future__ import annotations

from collections.abc import Iterable

from ftx import Command, Metric, hookimpl


@hookimpl
def ftx_commands() -> Iterable[Command]:
    yield Command(name="summary", summary="A run as a Markdown table or csv", command="ftx_summary.command:summary")


@hookimpl
def ftx_metrics() -> Iterable[Metric]:
    yield Metric(
        name="calibration_error",
        summary="how far confidence is from accuracy, 0 to 1 (expected calibration error, 15 bins)",
        compute="ftx_summary.calibration:expected_calibration_error",
        requires=("numpy",),
        higher_is_better=False,
    )
