"""The base of each step's configuration, and the marker for fields that name files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict


class StepConfig(BaseModel):
    """A step's settings: frozen, strict, and closed to what it does not know.

    Each field has a `description` that names its unit, and a bound where one makes sense: help, documentation and
    JSON schema come from it. Sequences are tuples (TOML arrays arrive as such).
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", validate_default=True)


@dataclass(frozen=True)
class InputPath:
    """Marks a field that names a file or folder to read.

    The value is resolved before validation: relative to ftx.toml, or inside an installed package
    (`pkg:package/path`, found without importing it). In the step's key it counts by content, not by name. With `hub`
    a value that is no path is taken for an id on the model hub and passed on as `hub:ID`.

    With `model` the value names a checkpoint, by a folder or as `ftx show` does (`latest:train`, the beginning of a
    digest). The planner gives it to the step as its input `model`.
    """

    hub: bool = False
    model: bool = False


SourcePath = Annotated[str, InputPath(hub=True)]
"""A file, a folder, `pkg:package/path`, or an id on the hub."""
FilePath = Annotated[str, InputPath()]
"""A file, a folder, or `pkg:package/path`."""
ModelPath = Annotated[str, InputPath(model=True)]
"""A checkpoint, or a model with a trained head: a folder, `pkg:package/path`, or a REF. It is the input `model`."""
