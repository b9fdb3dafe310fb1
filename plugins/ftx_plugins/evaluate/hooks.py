"""The built-in evaluate steps; the planner adds them behind each step that changes the model."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from ftx import Bundle, Checkpoint, Dataset, Evaluation, Step, StepConfig, hookimpl


class EvaluateConfig(StepConfig):
    """`[evaluate]`"""

    max_rows: int = Field(2000, ge=0, description="Rows of the split to look at, a stratified sample; 0: all")
    batch_size: int = Field(32, ge=1, description="Rows in a batch")
    latency_rows: int = Field(100, ge=20, description="Texts whose latency is measured, each alone")
    throughput_rows: int = Field(256, ge=32, description="Texts on which the rate in batches is measured")
    invariance_rows: int = Field(
        64, ge=0, description="Texts that are tried alone, padded and in random batches; 0: none"
    )


@hookimpl
def ftx_steps() -> Iterable[Step]:
    for name, summary in (
        ("validation", "measure a model on the validation split"),
        ("test", "measure the outcome on the test split, once, at the end"),
    ):
        yield Step(
            name=name,
            stage="evaluate",
            summary=summary,
            takes={
                "model": Checkpoint | Bundle,
                "data": Dataset,
                "reference": Checkpoint | None,
                "baseline": Evaluation | None,
            },
            gives=Evaluation,
            config=EvaluateConfig,
            run=f"ftx_plugins.evaluate.evaluate:run_{name}",
            requires=("torch", "transformers", "datasets", "sklearn", "scipy"),
            default=name == "validation",
            measures=True,
            version=3,
        )
