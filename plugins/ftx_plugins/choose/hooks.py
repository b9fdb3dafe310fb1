"""The built-in choose step; the planner adds it behind the last bundle of a plan."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from ftx import Bundle, Dataset, Evaluation, Step, StepConfig, hookimpl


class ChooseConfig(StepConfig):
    """`[choose]`"""

    enabled: bool = Field(True, description="Whether a plan that makes a bundle ends with a choice among its variants")
    seconds: float = Field(15.0, gt=0, le=3600, description="What the measurement may take, seconds; at least 3 rounds")
    prefer: Literal["throughput", "latency", "balanced"] = Field(
        "throughput",
        description="What is fast: rows a second in batches, milliseconds of one text alone, or the mean of both",
    )
    batch_size: int = Field(32, ge=1, le=1024, description="Rows in a batch")
    threads: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = Field(
        (), description="Numbers of threads to try; none: all cores, half of them from 4 on, and 4 beyond 16"
    )
    max_texts: int = Field(1000, ge=1, description="Texts of the validation split that are drawn from")
    allow_slower_than_fp32: bool = Field(
        False, description="Whether a variant of another precision may be chosen although fp32 is faster"
    )


@hookimpl
def ftx_steps() -> Iterable[Step]:
    yield Step(
        name="fastest",
        stage="choose",
        summary="the variant within the budget that is the fastest on this machine, by measurement",
        takes={"model": Bundle, "data": Dataset, "evaluation": Evaluation | None, "baseline": Evaluation | None},
        gives=Bundle,
        config=ChooseConfig,
        run="ftx_plugins.choose.fastest:run",
        requires=("numpy", "tokenizers", "datasets", "huggingface_hub"),
        default=True,
        measures=True,
        within_budget=True,
        version=2,
    )
