"""The built-in metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ftx import Metric, hookimpl
from ftx.tasks import LOWER_IS_BETTER, MULTI_LABEL, REGRESSION, TEXT_CLASSIFICATION, TOKEN_CLASSIFICATION


@hookimpl
def ftx_metrics() -> Iterable[Metric]:
    yield from _of_labels()
    yield from _of_numbers()
    yield from _of_entities()


def _of_labels() -> Iterator[Metric]:
    single = "ftx_plugins.metrics.classification"
    yield Metric(
        name="accuracy",
        summary="share of rows labelled right",
        compute=f"{single}:accuracy",
        from_counts=f"{single}:accuracy_from_counts",
        requires=("sklearn",),
    )
    counted = {
        "f1_macro": "F1, averaged over the classes with equal weight",
        "f1_micro": "F1 of all rows pooled; equals the accuracy where each row has one label",
    }
    for name, summary in counted.items():
        yield Metric(
            name=name,
            summary=summary,
            compute=f"ftx_plugins.metrics.any_classification:{name}",
            from_counts=f"{single}:{name}_from_counts",
            tasks=(TEXT_CLASSIFICATION, MULTI_LABEL),
            requires=("sklearn",),
        )
    yield Metric(
        name="per_class",
        summary="precision, recall, F1 and rows of each class; of entities, of each type",
        compute="ftx_plugins.metrics.any_classification:per_class",
        from_counts="ftx_plugins.metrics.any_classification:per_class_from_counts",
        tasks=(TEXT_CLASSIFICATION, MULTI_LABEL, TOKEN_CLASSIFICATION),
        requires=("sklearn",),
    )
    yield Metric(
        name="subset_accuracy",
        summary="share of rows whose labels are all predicted, and no other",
        compute="ftx_plugins.metrics.multi_label:subset_accuracy",
        tasks=(MULTI_LABEL,),
    )


def _of_numbers() -> Iterator[Metric]:
    summaries = {
        "rmse": "root of the mean squared error, in units of the target",
        "mae": "mean absolute error, in units of the target",
        "pearson": "Pearson's correlation of predictions and targets",
        "spearman": "Spearman's correlation, that of the ranks",
    }
    for name, summary in summaries.items():
        yield Metric(
            name=name,
            summary=summary,
            compute=f"ftx_plugins.metrics.regression:{name}",
            tasks=(REGRESSION,),
            requires=("scipy",),
            higher_is_better=name not in LOWER_IS_BETTER,
        )


def _of_entities() -> Iterator[Metric]:
    tokens = "ftx_plugins.metrics.entities"
    counted = {
        "entity_f1": "F1 of the entities of all types; right with the right type and both ends",
        "entity_precision": "share of the entities found that are right",
        "entity_recall": "share of the entities there that are found",
    }
    for name, summary in counted.items():
        yield Metric(
            name=name,
            summary=summary,
            compute=f"{tokens}:{name}",
            from_counts=f"{tokens}:{name}_from_counts",
            tasks=(TOKEN_CLASSIFICATION,),
            requires=("sklearn",),
        )
    yield Metric(
        name="token_accuracy",
        summary="share of words with the right tag",
        compute=f"{tokens}:token_accuracy",
        tasks=(TOKEN_CLASSIFICATION,),
        requires=("sklearn",),
    )
