"""The reader of each task's targets."""

from __future__ import annotations

from collections.abc import Mapping

from ftx.tasks import MULTI_LABEL, REGRESSION, TEXT_CLASSIFICATION, TOKEN_CLASSIFICATION
from ftx_plugins.data.config import DataConfig
from ftx_plugins.tasks.entity_targets import EntityReader
from ftx_plugins.tasks.targets import LabelReader, LabelSetReader, NumberReader, TargetReader

READERS: Mapping[str, type[TargetReader]] = {
    TEXT_CLASSIFICATION: LabelReader,
    MULTI_LABEL: LabelSetReader,
    REGRESSION: NumberReader,
    TOKEN_CLASSIFICATION: EntityReader,
}


def reader_of(task: str, config: DataConfig) -> TargetReader:
    return READERS[task](config)
