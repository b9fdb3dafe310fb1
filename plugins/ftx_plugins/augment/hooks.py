"""The built-in steps of the stage `augment`."""

from __future__ import annotations

from collections.abc import Iterable

from ftx import Checkpoint, Dataset, Step, hookimpl
from ftx.tasks import TEXT_CLASSIFICATION
from ftx_plugins.augment.config import BackTranslationConfig, MaskedConfig, NoiseConfig, SynonymsConfig

REQUIRES = ("datasets", "numpy", "pyarrow", "sklearn", "torch", "transformers")


@hookimpl
def ftx_steps() -> Iterable[Step]:
    takes = {"model": Checkpoint, "data": Dataset}
    yield Step(
        name="synonyms",
        stage="augment",
        summary="Add training rows with words replaced by synonyms, in English and Chinese",
        takes=takes,
        gives=Dataset,
        config=SynonymsConfig,
        run="ftx_plugins.augment.synonyms:run",
        check="ftx_plugins.augment.check:check_synonyms",
        requires=REQUIRES,
        tasks=(TEXT_CLASSIFICATION,),
        default=True,
    )
    yield Step(
        name="noise",
        stage="augment",
        summary="Add training rows with words swapped or left out",
        takes=takes,
        gives=Dataset,
        config=NoiseConfig,
        run="ftx_plugins.augment.noise:run",
        check="ftx_plugins.augment.check:check",
        requires=REQUIRES,
        tasks=(TEXT_CLASSIFICATION,),
    )
    yield Step(
        name="masked",
        stage="augment",
        summary="Add training rows with words filled in by a masked language model",
        takes=takes,
        gives=Dataset,
        config=MaskedConfig,
        run="ftx_plugins.augment.masked:run",
        check="ftx_plugins.augment.check:check",
        requires=REQUIRES,
        tasks=(TEXT_CLASSIFICATION,),
    )
    yield Step(
        name="back-translation",
        stage="augment",
        summary="Add training rows translated into another language and back",
        takes=takes,
        gives=Dataset,
        config=BackTranslationConfig,
        run="ftx_plugins.augment.back_translation:run",
        check="ftx_plugins.augment.check:check",
        requires=REQUIRES,
        tasks=(TEXT_CLASSIFICATION,),
    )
