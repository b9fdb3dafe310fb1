"""From the targets of a split to the labels that a model is trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ftx import Artifact
from ftx.tasks import MULTI_LABEL, REGRESSION, TOKEN_CLASSIFICATION
from ftx_plugins.checkpoint import LoadedCheckpoint
from ftx_plugins.data.splits import labels_of
from ftx_plugins.labels import label_places
from ftx_plugins.tasks.scaling import Scale
from ftx_serving.tags import IGNORED

OTHER_LABELS = "use data with the model's labels, or train on this data first: ftx run train prune"
"""What to do where the data has other labels than the model."""


def encode_labels(split: Any, task: str, places: np.ndarray, scale: Scale) -> np.ndarray:
    """What `TokenizedSplit.labels` holds. `places[i]` is the head's place of the data's label i."""
    labels = labels_of(split, len(places))
    if task == REGRESSION:
        return scale.standardise(labels)
    own = in_order_of_head(labels, task, places, len(places))
    return own.astype(np.float32) if task == MULTI_LABEL else own


def in_order_of_head(labels: np.ndarray, task: str, places: np.ndarray, outputs: int) -> np.ndarray:
    """`labels` as `SplitRows` has them (of tokens, words' tags), in the order of a head with so many outputs;
    `places[i]` is the head's place of the data's label i."""
    if task == REGRESSION:
        return labels
    if task == TOKEN_CLASSIFICATION:
        return np.where(labels == IGNORED, IGNORED, places[np.maximum(labels, 0)])
    if task == MULTI_LABEL and labels.ndim == 2:
        hot = np.zeros((len(labels), outputs), dtype=np.int64)
        hot[:, places] = labels
        return hot
    return np.asarray(places[labels])


def encoder_of(data: Artifact, loaded: LoadedCheckpoint) -> Callable[[Any], np.ndarray]:
    """`encode_labels` for a model that is trained already: a regression's numbers stay as they are."""
    places = label_places(data.meta["labels"], loaded.labels, OTHER_LABELS)
    return lambda split: encode_labels(split, loaded.task, places, Scale())


def scale_of(data: Artifact) -> Scale:
    """Of the training targets of a regression; none of any other task."""
    target = data.meta.get("target")
    return Scale(target["mean"], target["std"]) if target else Scale()
