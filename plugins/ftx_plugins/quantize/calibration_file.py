"""`quantize.calibration_data`: a file of texts to calibrate on, read as `[data]` reads its files. Light.

pyarrow is loaded only when the rows are read; the columns are looked up while the plan is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ftx.errors import FtxError, Problem
from ftx.step import ModelSettings
from ftx_plugins.data.text_file import TextFile
from ftx_plugins.quantize.config import StaticConfig

SETTING = "quantize.calibration_data"


def check_calibration_data(config: StaticConfig, model: ModelSettings) -> Iterator[Problem]:
    """A folder, an unknown format, an empty file, or other columns than those that are named."""
    if config.calibration_data is not None:
        yield from _file(config).check()


def read_texts(config: StaticConfig, *, pairs: bool) -> tuple[list[str], list[str] | None]:
    """The texts of `config.calibration_data`, and the second ones of `pairs`; rows without a text are left out.

    Raises `FtxError` where the file cannot be read, has fewer rows than `config.calibration_rows`, or where the model
    takes pairs and the settings name no second column, or the other way round.
    """
    file = _file(config)
    file.require(pairs, "the model was trained on", "calibration")
    rows = [row for batch in file.batches() for row in batch]
    if len(rows) < config.calibration_rows:
        raise FtxError(
            f"{file.path.name} has {len(rows)} rows with texts, and {config.calibration_rows} are to calibrate on",
            f"ask for fewer: --set quantize.calibration_rows={max(1, len(rows))}",
            f"or give a file with more: {SETTING}",
        )
    return [row[0] for row in rows], [row[1] for row in rows] if pairs else None


def _file(config: StaticConfig) -> TextFile:
    columns = config.calibration_text, config.calibration_text_pair
    settings = "quantize.calibration_text", "quantize.calibration_text_pair"
    return TextFile(Path(str(config.calibration_data)), *columns, SETTING, *settings)
