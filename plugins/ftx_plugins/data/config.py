"""The settings of `[data]`."""

from __future__ import annotations

import codecs
import difflib
from encodings.aliases import aliases
from typing import Literal, Self

from pydantic import Field, field_validator

from ftx.settings import FilePath, SourcePath, StepConfig
from ftx.tasks import TOKEN_CLASSIFICATION

REPLACE = "replace"
ENTITIES = "entities"
"""The column of entities, where no other is named."""


class DataConfig(StepConfig):
    """Which rows to read, which of their columns matter, and how to split them."""

    train: SourcePath = Field(
        description="Rows to learn from: a csv, tsv, json, jsonl, ndjson, parquet or conll file, a folder of them, or "
        "a hub id"
    )
    validation: SourcePath | None = Field(
        None, description="Rows to choose models by; without it they are split off `train`, unless it has its own"
    )
    test: SourcePath | None = Field(
        None, description="Rows for the final report; without it they are split off `train`, unless it has its own"
    )
    subset: str | None = Field(None, description="Configuration of a hub data set that has several, such as `sst2`")
    revision: str = Field("main", min_length=1, description="Branch, tag or commit of a hub data set")
    text: str = Field("text", min_length=1, description="Name of the column with the text")
    text_pair: str | None = Field(None, min_length=1, description="Name of the column with the second text of a pair")
    label: str = Field(
        "label",
        min_length=1,
        description="Name of the column with the label: strings, ints or bools. Token classification: with lists of "
        "entities, `entities` unless it is set",
    )
    scheme: Literal["auto", "bio", "bilou"] = Field(
        "auto",
        description="Token classification: the tags of the model, and of conll files; auto: BILOU where such a file "
        "has L- or U- tags, BIO otherwise",
    )
    label_separator: str = Field(
        ",", min_length=1, description="Multi-label: what stands between the labels in a cell; a JSON list needs none"
    )
    label_columns: tuple[str, ...] = Field(
        (), description="Multi-label: names of columns that hold 1 or 0, one for each label, instead of `label`"
    )
    tolerance: float | None = Field(
        None,
        ge=0,
        description="Regression: by how much a prediction may move and count as unchanged, in units of the target; "
        "not set: a tenth of the standard deviation of the training targets",
    )
    encoding: str = Field(
        "utf-8",
        description="Encoding of text files: a Python codec, or `replace`: utf-8 with invalid bytes replaced by U+FFFD",
    )
    separator: str | None = Field(
        None, min_length=1, max_length=1, description="Character between columns; by suffix: csv `,`, tsv a tab"
    )
    test_size: float = Field(0.2, gt=0, lt=1, description="Share of all rows that becomes the test split (0 to 1)")
    validation_size: float = Field(
        0.1, gt=0, lt=1, description="Share of the rows left after the test split that becomes validation (0 to 1)"
    )
    near_duplicates: Literal["cluster", "report", "off"] = Field(
        "cluster",
        description="What to do about texts that are nearly the same: `cluster` keeps them in one split, `report` only "
        "counts them (also where they straddle splits), `off` does not look. Looking reads all texts twice more, and "
        "takes about 170 bytes of memory a row",
    )
    near_duplicate_similarity: float = Field(
        0.8,
        ge=0.5,
        le=1,
        description="From which Jaccard similarity of character 4-grams on texts are near-duplicates (0.5 to 1)",
    )
    drop_leaked: bool = Field(
        False,
        description="Drop training rows that are near-duplicates of rows of a given validation or test file; "
        "otherwise they are only counted",
    )
    exclude: FilePath | None = Field(
        None, description="Rows to leave out: a csv of `ftx data audit` in which their column `exclude` is filled in"
    )
    max_train_rows: int = Field(
        0, ge=0, description="Rows to keep of the training split, each class in proportion (0: all)"
    )
    max_validation_rows: int = Field(
        0, ge=0, description="Rows to keep of the validation split, each class in proportion (0: all)"
    )
    max_test_rows: int = Field(0, ge=0, description="Rows to keep of the test split, each class in proportion (0: all)")

    folds: int = Field(
        0,
        ge=0,
        le=100,
        description="Parts of the training split for cross-validation, each class in proportion: train then also says "
        "how well it does on each part when it learns from the others (0: none)",
    )

    @field_validator("folds")
    @classmethod
    def _are_several(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("one fold leaves no rows to learn from: take 2 or more, or 0 for no cross-validation")
        return folds

    @field_validator("label_columns")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(names) == 1 or len(set(names)) < len(names):
            raise ValueError("name two columns or more, each once")
        return names

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name == REPLACE:
            return name
        try:
            is_text = codecs.lookup(name)._is_text_encoding
        except LookupError:
            is_text = False
        if not is_text:
            known = sorted({*aliases.values(), *aliases, REPLACE}, key=len)
            near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1)
            raise ValueError(
                f"{name!r} is no text encoding of Python" + (f"; did you mean {near[0]!r}?" if near else "")
            )
        return name

    @property
    def codec(self) -> str:
        """The Python codec that text files are decoded with."""
        return "utf-8" if self.encoding == REPLACE else self.encoding

    @property
    def wanted(self) -> dict[str, str]:
        """Setting -> name of the column that it asks for."""
        pair = {"data.text_pair": self.text_pair} if self.text_pair else {}
        labels = {f"data.label_columns[{place}]": name for place, name in enumerate(self.label_columns)}
        return {"data.text": self.text, **pair, **(labels or {"data.label": self.label})}

    def for_task(self, task: str) -> Self:
        """The same, with the name of the column that this task's targets are in, where none is set."""
        if task == TOKEN_CLASSIFICATION and self.label == "label":
            return self.model_copy(update={"label": ENTITIES})
        return self
