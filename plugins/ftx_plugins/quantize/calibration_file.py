"""`quantize.calibration_data`: a file of texts to calibrate on, read as `[data]` reads its files. Light.

pyarrow is loaded only when the rows are read; the columns are looked up while the plan is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from ftx.errors import FtxError, Problem
from ftx.step import ModelSettings
from ftx_plugins.data.columns import column_problems
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.peek import peek_columns
from ftx_plugins.data.sources import Source, format_of
from ftx_plugins.quantize.config import StaticConfig

SETTING = "quantize.calibration_data"


class TextColumns(DataConfig):
    """How to read texts without labels; problems name the settings of the stage quantize."""

    label: str = Field("", max_length=0, description="There is none")

    @property
    def wanted(self) -> dict[str, str]:
        pair = {"quantize.calibration_text_pair": self.text_pair} if self.text_pair else {}
        return {"quantize.calibration_text": self.text, **pair}


def check_calibration_data(config: StaticConfig, model: ModelSettings) -> Iterator[Problem]:
    """A folder, an unknown format, an empty file, or other columns than those that are named."""
    if config.calibration_data is None:
        return
    path, columns = Path(config.calibration_data), columns_of(config)
    if path.is_dir():
        yield Problem(f"{path} is a folder, and one file is read", SETTING, ("name the file in it",))
        return
    try:
        found = peek_columns(path, columns)
    except FtxError as error:
        yield Problem(error.message, SETTING, error.hints)
    else:
        if found is not None:
            yield from column_problems(columns, found, path.name)


def columns_of(config: StaticConfig) -> TextColumns:
    """The settings as the readers of `[data]` take them."""
    return TextColumns(
        train=str(config.calibration_data), text=config.calibration_text, text_pair=config.calibration_text_pair
    )


def read_texts(config: StaticConfig, *, pairs: bool) -> tuple[list[str], list[str] | None]:
    """The texts of `config.calibration_data`, and the second ones of `pairs`; rows without a text are left out.

    Raises `FtxError` where the file cannot be read, has fewer rows than `config.calibration_rows`, or where the model
    takes pairs and the settings name no second column, or the other way round.
    """
    from ftx_plugins.data.reading import open_rows

    path, columns = Path(str(config.calibration_data)), columns_of(config)
    if pairs != bool(columns.text_pair):
        takes, named = ("pairs of texts", "no column of second texts") if pairs else ("single texts", "pairs")
        raise FtxError(
            f"the model was trained on {takes}, and the settings of the calibration file name {named}",
            f"{'set' if pairs else 'leave out'} quantize.calibration_text_pair",
        )
    format_of(path)
    rows = [
        tuple(text.strip() for text in row)
        for batch in open_rows(Source((path,)), columns).batches
        for row in zip(*(batch.column(name).to_pylist() for name in _names(pairs)), strict=True)
        if all(text and text.strip() for text in row)
    ]
    if len(rows) < config.calibration_rows:
        raise FtxError(
            f"{path.name} has {len(rows)} rows with texts, and {config.calibration_rows} are to calibrate on",
            f"ask for fewer: --set quantize.calibration_rows={max(1, len(rows))}",
            f"or give a file with more: {SETTING}",
        )
    return [row[0] for row in rows], [row[1] for row in rows] if pairs else None


def _names(pairs: bool) -> tuple[str, ...]:
    return ("text", "text_pair") if pairs else ("text",)
