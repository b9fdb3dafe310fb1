"""The built-in metrics."""

from __future__ import annotations

from collections.abc import Iterable

from ftx import Metric, hookimpl


@hookimpl
def ftx_metrics() -> Iterable[Metric]:
    module = "ftx_plugins.metrics.classification"
    yield Metric(
        name="accuracy", summary="share of rows labelled right", compute=f"{module}:accuracy", requires=("sklearn",)
    )
    yield Metric(
        name="f1_macro",
        summary="F1, averaged over the classes with equal weight",
        compute=f"{module}:f1_macro",
        requires=("sklearn",),
    )
    yield Metric(
        name="f1_micro",
        summary="F1 of all rows pooled; equals the accuracy where each row has one label",
        compute=f"{module}:f1_micro",
        requires=("sklearn",),
    )
    yield Metric(
        name="per_class",
        summary="precision, recall, F1 and rows of each class",
        compute=f"{module}:per_class",
        requires=("sklearn",),
    )
