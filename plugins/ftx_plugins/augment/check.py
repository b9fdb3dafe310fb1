"""What can be said of `[augment]` while the plan is made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ftx.errors import Problem
from ftx.step import ModelSettings
from ftx_plugins.augment.config import AugmentConfig, MaskedConfig, SynonymsConfig
from ftx_plugins.augment.dictionaries import INSTALL, find_cilin, find_wordnet, missing_files


def check(config: AugmentConfig, model: ModelSettings) -> Iterator[Problem]:
    """A probe that is asked for a verdict and is off, a folder without a model."""
    if config.keep == "if_better" and not config.probe_rows:
        yield Problem(
            'keep = "if_better" needs the probe, and probe_rows is 0',
            "augment.keep",
            ("set augment.probe_rows = 2000",),
        )
    if (
        isinstance(config, MaskedConfig)
        and config.masked_model
        and not (Path(config.masked_model) / "config.json").is_file()
    ):
        yield Problem(
            f"{config.masked_model} is no model folder", "augment.masked_model", ("name a folder with config.json",)
        )


def check_synonyms(config: SynonymsConfig, model: ModelSettings) -> Iterator[Problem]:
    """As `check`, and a dictionary that is not there."""
    yield from check(config, model)
    folder = find_wordnet(config.wordnet)
    if config.wordnet and folder and (missing := missing_files(folder)):
        yield Problem(
            f"{folder} lacks files of WordNet: {', '.join(missing)}",
            "augment.wordnet",
            ("name the folder that holds data.noun, as that of the Debian package wordnet-base",),
        )
    if config.language in ("en", "both") and folder is None:
        yield Problem("WordNet is not installed", "augment.language", (INSTALL,))
    if config.language in ("zh", "both") and find_cilin() is None:
        yield Problem("Cilin is not installed", "augment.language", (INSTALL,))
