"""What the first bytes of the data tell while the plan is made, in milliseconds for a file of any size."""

from __future__ import annotations

from collections.abc import Iterator

from ftx.errors import FtxError, Problem
from ftx.step import ModelSettings
from ftx.tasks import MULTI_LABEL, REGRESSION, TEXT_CLASSIFICATION, TOKEN_CLASSIFICATION
from ftx_plugins.data.columns import column_problems
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.peek import peek_columns
from ftx_plugins.data.sources import CONLL, Source, find_sources, format_of
from ftx_plugins.tasks.settings import check_task

OF_TASK = {
    "label_separator": MULTI_LABEL,
    "label_columns": MULTI_LABEL,
    "tolerance": REGRESSION,
    "folds": TEXT_CLASSIFICATION,
    "scheme": TOKEN_CLASSIFICATION,
}
"""Setting -> the only task that it is for."""


def check(config: DataConfig, model: ModelSettings) -> Iterator[Problem]:
    """Settings of another task or without effect, unknown formats, empty files, and columns that a first file lacks."""
    yield from check_task("data", config, OF_TASK, model.task)
    config = config.for_task(model.task)
    if config.text_pair and model.task == TOKEN_CLASSIFICATION:
        message = f"{TOKEN_CLASSIFICATION} is of single texts, and data.text_pair names second ones"
        yield Problem(message, "data.text_pair", ("leave it out",))
    if config.drop_leaked and config.near_duplicates == "off":
        hint = 'look for near-duplicates: --set data.near_duplicates="report"'
        message = 'drops near-duplicates, and data.near_duplicates = "off" does not look for them'
        yield Problem(message, "data.drop_leaked", (hint, "or leave it out"))
    try:
        sources = find_sources(config)
    except FtxError as error:
        yield Problem(error.message, "data", error.hints)
        return
    seen: set[str] = set()
    for split, source in sources.items():
        if source.files and format_of(source.files[0]) == CONLL and model.task != TOKEN_CLASSIFICATION:
            message = f"{source.name} holds a tag for each token, and model.task is {model.task}"
            yield Problem(message, f"data.{split}", (f"set the task: --set model.task={TOKEN_CLASSIFICATION}",))
        for problem in _check_source(split, source, config):
            if str(problem) not in seen:
                seen.add(str(problem))
                yield problem


def _check_source(split: str, source: Source, config: DataConfig) -> Iterator[Problem]:
    for path in source.files[:1]:
        try:
            columns = peek_columns(path, config)
        except FtxError as error:
            yield Problem(error.message, f"data.{split}", error.hints)
        else:
            if columns is not None:
                yield from column_problems(config, columns, path.name)
