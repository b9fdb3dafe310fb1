"""A file of texts without labels that a setting names, read as `[data]` reads its files. Light until rows are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from ftx.errors import FtxError, Problem
from ftx_plugins.data.columns import column_problems
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.peek import peek_columns
from ftx_plugins.data.sources import CONLL, Source, format_of


class _Columns(DataConfig):
    """The settings as the readers of `[data]` take them; problems name the settings that they came from."""

    label: str = Field("", max_length=0, description="There is none")
    named: dict[str, str] = Field(description="Setting -> name of the column that it asks for")

    @property
    def wanted(self) -> dict[str, str]:
        return self.named


@dataclass(frozen=True)
class TextFile:
    """One file, its column of texts and, for pairs, that of second texts."""

    path: Path
    text: str
    text_pair: str | None
    setting: str
    """What names the file, such as `distill.unlabelled`."""
    text_setting: str
    pair_setting: str

    def check(self) -> Iterator[Problem]:
        """A folder, an unknown format, an empty file, or other columns than those that are named."""
        if self.path.is_dir():
            yield Problem(f"{self.path} is a folder, and one file is read", self.setting, ("name the file in it",))
            return
        columns = self._columns()
        try:
            found = peek_columns(self.path, columns)
        except FtxError as error:
            yield Problem(error.message, self.setting, error.hints)
        else:
            if found is not None:
                yield from column_problems(columns, found, self.path.name)
            elif self.text_pair and format_of(self.path) == CONLL:
                hint = "give the pairs in a csv, jsonl or parquet file"
                yield Problem(f"{self.path.name} holds single texts, and no pairs", self.pair_setting, (hint,))

    def require(self, pairs: bool, who: str, what: str) -> None:
        """Raise `FtxError` where pairs are wanted and the settings name no second column, or the other way round.

        `who` wants them ("the data holds"), and `what` is what the file is for ("unlabelled").
        """
        if pairs != bool(self.text_pair):
            wants, named = ("pairs of texts", "no column of second texts") if pairs else ("single texts", "pairs")
            raise FtxError(
                f"{who} {wants}, and the settings of the {what} file name {named}",
                f"{'set' if pairs else 'leave out'} {self.pair_setting}",
            )

    def batches(self) -> Iterator[list[tuple[str, ...]]]:
        """The texts, or pairs of texts, without white space around them; rows without a text are left out.

        Raises `FtxError` where the file cannot be read.
        """
        from ftx_plugins.data.reading import open_rows

        names = ("text", "text_pair") if self.text_pair else ("text",)
        # As for entities, so that a conll file gives its sentences; where no label is read, that is all it means.
        for batch in open_rows(Source((self.path,)), self._columns(), "entities").batches:
            yield [
                tuple(text.strip() for text in row)
                for row in zip(*(batch.column(name).to_pylist() for name in names), strict=True)
                if all(text and text.strip() for text in row)
            ]

    def _columns(self) -> _Columns:
        named = {self.text_setting: self.text, **({self.pair_setting: self.text_pair} if self.text_pair else {})}
        return _Columns(train=str(self.path), text=self.text, text_pair=self.text_pair, named=named)
