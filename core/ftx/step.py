"""What a plugin may add: steps, metrics, runtimes, commands, executors, architectures, translators.

Frozen values, cheap to make and to list.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal

from ftx.api_version import with_renamed_fields
from ftx.artifacts import Artifact

if TYPE_CHECKING:
    from ftx.plugins import PluginManager
    from ftx.settings import StepConfig

Kind = type[Artifact] | UnionType
"""A kind of artifact, or a union of kinds; a union with `None` is an input that may be missing."""


@with_renamed_fields
@dataclass(frozen=True)
class Step:
    """One method of a stage.

    `run` names `run(config, inputs, context) -> metrics`: it reads `inputs[name].path`, writes under `context.out`
    alone, and returns metrics (JSON values). `check` names an optional light function `check(config, model)` that
    yields `Problem`s while the plan is made; it must not import anything heavy.
    """

    name: str
    stage: str
    summary: str
    run: str
    config: type[StepConfig]
    takes: Mapping[str, Kind]
    gives: type[Artifact] | Literal["model"] | None
    requires: tuple[str, ...] = ()
    """Import names of packages that must be there; their versions are part of the key."""
    version: int = 1
    """Raised when the same inputs give another output: older results are then misses."""
    default: bool = False
    """Whether the bare name of the stage means this method."""
    measures: bool = False
    """Whether the result holds for this machine alone; its processor is then part of the key."""
    cached: bool = True
    check: str | None = None
    tasks: tuple[str, ...] = ()
    """The tasks (`[model] task`) that it works for; empty: all of them. A plan for another one is refused."""
    within_budget: bool = False
    """Whether the result depends on `[budget]`: the limits are then in `context.budget`, and part of the key."""

    background: str | None = None
    """For a step that goes on until somebody stops it, such as a server: names `start(config, inputs, context)`, a
    context manager. Where a `loadtest` step comes after it, the run enters that instead of calling `run`, gives what it
    yields (JSON values, with a `url`) to the steps behind it as `context.serving`, and leaves it at the end."""

    data_parallel: bool = False
    """Whether several processes may carry it out together, each with its share of every batch (`torch.distributed`);
    what it makes, up to rounding, must then not depend on how many there are: their number is in no key."""

    @property
    def full_name(self) -> str:
        return f"{self.stage}:{self.name}"


@with_renamed_fields
@dataclass(frozen=True)
class Metric:
    """A figure of quality. `compute` names `compute(labels, logits, names) -> float`, or a dict of floats.

    `labels` is int64 of shape (rows,), `logits` float32 of shape (rows, classes), `names` the label names. In
    multi-label classification `labels` is int64 of shape (rows, classes), 1 for each label that a row has, and a logit
    above 0 is a label that is predicted; in regression `labels` is float64 of shape (rows,), and `logits` of shape
    (rows, 1). In token classification `names` are the tags of words (BIO or BILOU), `labels` is int64 of shape (rows,
    words), -100 behind a row's last word, and `logits` of shape (rows, words, tags), zeros behind it.

    `from_counts` names an optional `from_counts(counts, names)`, which gives the same (but for counts of rows) for all
    resamples of a bootstrap at once, as arrays of shape (resamples,): `counts` has `right`, `predicted` and `actual`,
    the rows of each class (the entities of each type), of shape (resamples, classes). Not in regression. Without it the
    interval comes from fewer resamples, each a call of `compute`, or, if a call is slow, there is none.
    """

    name: str
    summary: str
    compute: str
    tasks: tuple[str, ...] = ("text-classification",)
    requires: tuple[str, ...] = ()
    higher_is_better: bool = True
    from_counts: str | None = None


@with_renamed_fields
@dataclass(frozen=True)
class Runtime:
    """What executes a variant. `load` names `load(folder, variant, device, threads) -> Session`.

    A session is called with `input_ids`, `attention_mask` and, where the model has them, `token_type_ids`, each int64
    of shape (batch, length), and returns the logits, float32 of shape (batch, classes), or (batch, length, tags).
    """

    name: str
    summary: str
    load: str
    formats: tuple[str, ...]
    devices: tuple[str, ...] = ("cpu",)
    requires: tuple[str, ...] = ()
    process_threads: bool = False
    """Whether `threads` holds for the whole process, and not for one session."""


@with_renamed_fields
@dataclass(frozen=True)
class Command:
    """A command of the command line: `command` names a `click.Command`."""

    name: str
    summary: str
    command: str


@with_renamed_fields
@dataclass(frozen=True)
class Executor:
    """Where a step runs. `execute` names `execute(run, config, inputs, context) -> metrics`."""

    name: str
    summary: str
    execute: str
    requires: tuple[str, ...] = ()


@with_renamed_fields
@dataclass(frozen=True)
class Architecture:
    """Where a family of encoders keeps its linear layers: dotted module names, for what takes a model apart.

    `layers` counts from the encoder (the model without its head); the others count from one of the layers.
    """

    name: str
    """The family: `model_type` in the model's configuration."""
    layers: str
    """The list of encoder layers, such as `encoder.layer`."""
    attention_in: tuple[str, ...]
    """The query, key and value projections, each of shape (heads · head size, hidden); or one that packs the three,
    of shape (3 · heads · head size, hidden)."""
    attention_out: str
    """The output projection, of shape (hidden, heads · head size)."""
    ffn_in: tuple[str, ...]
    """What leads into the feed-forward network: of shape (width, hidden); with a gate, a second one of that shape, or
    one that packs both, of shape (2 · width, hidden)."""
    ffn_out: str
    """What leads out of it, of shape (hidden, width)."""
    gated: bool = False
    """Whether the feed-forward network multiplies by a gate."""
    width_field: str = "intermediate_size"
    """The configuration's name for the width of the feed-forward network."""
    fixed_first_layer: bool = False
    """Whether the first layer is made unlike the others, so that no other can take its place."""


@with_renamed_fields
@dataclass(frozen=True)
class Translator:
    """What translates texts, for augmentation. `translate` names `translate(texts, source, target, context)`.

    It returns the translations of `texts` (a list of strings), in their order. `source` and `target` are languages as
    the user has named them, usually by ISO 639-1: `en`, `zh`. `context` is that of the step: its seed, its device.
    Whatever it raises fails the step; batches that it has returned are kept.
    """

    name: str
    summary: str
    translate: str
    requires: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelSettings:
    """The table `[model]`: which pretrained encoder, for which task."""

    name: str
    task: str = "text-classification"
    revision: str = "main"
    trust_remote_code: bool = False
    on_hub: bool = False
    """Whether `name` is an id on the model hub, and not a folder."""


@with_renamed_fields
@dataclass(frozen=True)
class Context:
    """What a step gets besides its configuration and its inputs."""

    step: str
    out: Path
    """An empty folder: the artifact to be."""
    work: Path
    """A folder that survives a kill: what lets the step resume. Emptied when the step has finished."""
    seed: int
    device: str
    """`cpu` or `cuda`."""
    model: ModelSettings
    plugins: PluginManager
    emit: Callable[[str, Mapping[str, Any]], None] = lambda name, values: None
    meta: dict[str, Any] = field(default_factory=dict)
    budget: Mapping[str, Any] = field(default_factory=dict)
    """The limits of `[budget]` that are set, for a step that is `within_budget`; empty for all others."""
    serving: Mapping[str, Any] = field(default_factory=dict)
    """What the server says that an earlier step of the run has started in the background; empty where there is none."""

    def progress(self, done: float, total: float | None = None, unit: str = "", **figures: float | str) -> None:
        """Say how far the step is: `done` of `total` `unit`s, and figures worth watching (loss, accuracy)."""
        self.emit("progress", {"done": done, "total": total, "unit": unit, "figures": figures})

    def evaluated(self, epoch: int, epochs: int, /, **figures: float) -> None:
        """Say what the validation rows gave after an epoch of `epochs`. A search for settings may stop the step here:
        what is raised is to be let through."""
        self.emit("evaluated", {"epoch": epoch, "epochs": epochs, "figures": figures})

    def log(self, message: str) -> None:
        """A line that the user wants to see."""
        self.emit("log", {"message": message})

    def warn(self, message: str) -> None:
        """A line that the user must see; it is kept with the run, and shown again when the step is a hit."""
        self.emit("warning", {"message": message})

    def describe(self, **meta: Any) -> None:
        """Put facts into the manifest (`meta`): JSON values without NaN. They are part of the digest."""
        self.meta.update(meta)


def load_by_name(target: str) -> Any:
    """The object that an import string `module:attribute` names."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
