"""The built-in step that fetches a model from the hub; the planner adds it where `[model] name` is a hub id."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from ftx import Checkpoint, Step, StepConfig, hookimpl


class HubConfig(StepConfig):
    """What to fetch; the planner fills it from `[model]`."""

    name: str = Field(description="Id on the hub")
    revision: str = Field("main", description="Branch, tag or commit")


@hookimpl
def ftx_steps() -> Iterable[Step]:
    yield Step(
        name="hub",
        stage="model",
        summary="fetch the pretrained model from the hub",
        takes={},
        gives=Checkpoint,
        config=HubConfig,
        run="ftx_plugins.model.hub:run",
        requires=("huggingface_hub",),
    )
