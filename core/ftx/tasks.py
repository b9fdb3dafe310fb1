"""The tasks of `[model] task`: which heads are for them, and which figure tells how good a model is at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TEXT_CLASSIFICATION = "text-classification"
MULTI_LABEL = "multi-label-classification"
REGRESSION = "regression"
TOKEN_CLASSIFICATION = "token-classification"

OF_WHOLE_TEXTS = (TEXT_CLASSIFICATION, MULTI_LABEL, REGRESSION)
"""Tasks with one answer, of whatever kind, to a text."""
LOWER_IS_BETTER = frozenset({"loss", "rmse", "mae"})
"""Figures of which less is better."""
FIGURES = {
    "accuracy": "accuracy",
    "subset_accuracy": "all labels right",
    "f1_micro": "micro F1",
    "f1_macro": "macro F1",
    "rmse": "RMSE",
    "mae": "MAE",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "entity_f1": "entity F1",
    "entity_precision": "entity precision",
    "entity_recall": "entity recall",
    "token_accuracy": "token accuracy",
}
"""Metric -> its title."""
IN_UNITS = ("rmse", "mae")
"""Figures in units of the target, of which hundredths mean nothing."""
SEQUENCE_HEAD = "ForSequenceClassification"
"""How the names of architectures with a head on top of the whole text end, and of those with one on each token."""
TOKEN_HEAD = "ForTokenClassification"


@dataclass(frozen=True)
class TaskFacts:
    """What the engine has to know of a task; how it is learnt and scored is the plugins' business."""

    head: str
    """How the names of architectures with a head for it end."""
    problem_type: str | None
    """`problem_type` in the configuration of such a model (transformers' word); None where the head alone tells."""
    metric: str
    """The figure that epochs are chosen by, and that `budget.metric_drop` limits."""
    figures: tuple[str, ...]
    """What training measures on the validation rows, beside the loss; the first two are shown for each epoch."""
    limits: frozenset[str]
    """Limits of `[budget]` on quality that mean something for it."""

    @property
    def higher_is_better(self) -> bool:
        return self.metric not in LOWER_IS_BETTER


TASKS: Mapping[str, TaskFacts] = {
    TEXT_CLASSIFICATION: TaskFacts(
        SEQUENCE_HEAD,
        "single_label_classification",
        "f1_macro",
        ("accuracy", "f1_macro", "f1_micro"),
        frozenset({"accuracy_drop", "f1_macro_drop", "metric_drop"}),
    ),
    MULTI_LABEL: TaskFacts(
        SEQUENCE_HEAD,
        "multi_label_classification",
        "f1_micro",
        ("f1_micro", "f1_macro", "subset_accuracy"),
        frozenset({"f1_macro_drop", "metric_drop"}),
    ),
    REGRESSION: TaskFacts(
        SEQUENCE_HEAD,
        "regression",
        "rmse",
        ("rmse", "pearson", "spearman", "mae"),
        frozenset({"metric_drop"}),
    ),
    TOKEN_CLASSIFICATION: TaskFacts(
        TOKEN_HEAD,
        None,
        "entity_f1",
        ("entity_f1", "token_accuracy", "entity_precision", "entity_recall"),
        frozenset({"metric_drop"}),
    ),
}
QUALITY_LIMITS = frozenset[str]().union(*(facts.limits for facts in TASKS.values()))


def task_of_head(config: Mapping[str, Any]) -> str | None:
    """The task of the trained head that a model's configuration (config.json) tells of; None where it tells of none.

    A configuration without `problem_type` is of a classifier, unless it has a single output: transformers trains that
    as a regression.
    """
    architectures = config.get("architectures") or ()
    kind = config.get("problem_type")
    for task, facts in TASKS.items():
        if facts.problem_type in (None, kind) and any(name.endswith(facts.head) for name in architectures):
            return task
    if not kind and any(name.endswith(SEQUENCE_HEAD) for name in architectures):
        return REGRESSION if len(config.get("id2label") or "??") == 1 else TEXT_CLASSIFICATION
    return None
