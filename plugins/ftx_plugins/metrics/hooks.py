"""The built-in metrics."""

from __future__ import annotations

from collections.abc import Iterable

from ftx import Metric, hookimpl


@hookimpl
def ftx_metrics() -> Iterable[Metric]:
    module = "ftx_plugins.metrics.classification"
    yield Metric(
        name="accuracy",
        summary="share of rows labelled right",
        compute=f"{module}:accuracy",
        from_counts=f"{module}:accuracy_from_counts",
        requires=("sklearn",),
    )
    yield Metric(
        name="f1_macro",
        summary="F1, averaged over the classes with equal weight",
        compute=f"{module}:f1_macro",
        from_counts=f"{module}:f1_macro_from_counts",
        requires=("sklearn",),
    )
    yield Metric(
        name="f1_micro",
        summary="F1 of all rows pooled; equals the accuracy where each row has one label",
        compute=f"{module}:f1_micro",
        from_counts=f"{module}:accuracy_from_counts",
        requires=("sklearn",),
    )
    yield Metric(
        name="per_class",
        summary="precision, recall, F1 and rows of each class",
        compute=f"{module}:per_class",
        from_counts=f"{module}:per_class_from_counts",
        requires=("sklearn",),
    )
