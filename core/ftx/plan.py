"""The plan: a resolved, validated list of steps. A pure value; nothing has run."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from ftx import machine
from ftx.artifacts import Artifact, canonical_json
from ftx.config import BudgetTable, input_paths
from ftx.discovery import PluginInfo
from ftx.errors import ExitCode, FtxError
from ftx.hashing import files_below
from ftx.settings import StepConfig
from ftx.sources import HUB, read_model_folder
from ftx.step import ModelSettings, Step
from ftx.store import Store

LOAD_TEST = "loadtest"
"""The stage whose steps ask a server that the run itself has started."""
SOURCE = "source"
"""The id of the model that the plan starts from."""
SUBJECT = "subject"
"""The id of the artifact that `ftx eval` looks at."""
REFERENCE = "reference"
"""The id of the reference that a plan is given; elsewhere the reference is made by a step."""

_DISTRIBUTIONS = {"sklearn": ("scikit-learn",), "onnxruntime": ("onnxruntime", "onnxruntime-gpu")}


def made_by(producer: str) -> str:
    """What the scoreboard calls what a step made; or the model that the plan starts from, which none did."""
    return "given" if producer == SOURCE else producer


@dataclass(frozen=True)
class PlannedStep:
    """A step with its settings, and its inputs wired to what makes them."""

    id: str
    """`stage:method`, with `#2` and so on where the plan holds it more than once."""
    step: Step
    config: StepConfig
    sources: Mapping[str, str]
    """Field -> where its value came from."""
    inputs: Mapping[str, str]
    """Input name -> id of the step that makes it, or of what the plan is given."""
    gives: type[Artifact] | None
    plugin: PluginInfo
    added: bool = False
    """Whether the planner added it."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Of a step that evaluates: the metrics of plugins -> their distribution and version. They are part of the key."""

    @property
    def name(self) -> str:
        return self.step.full_name

    def settings(self) -> dict[str, dict[str, Any]]:
        """Field -> `{"value", "source"}`, the values as JSON."""
        values = self.config.model_dump(mode="json")
        return {name: {"value": values[name], "source": source} for name, source in self.sources.items()}


@dataclass(frozen=True)
class Plan:
    """What will run, in this order."""

    steps: tuple[PlannedStep, ...]
    words: tuple[str, ...]
    """What was asked for."""
    model: ModelSettings
    given: Mapping[str, Path | Artifact]
    """What is there before the first step, by id: `SOURCE` (a model folder), `SUBJECT`, `REFERENCE`, and the models
    that settings name, such as `distill.teacher`."""
    seed: int
    device: str
    store: Path
    budget: BudgetTable
    root: Path
    config_path: Path | None
    warnings: tuple[str, ...] = ()

    def given_artifacts(self, store: Store) -> dict[str, Artifact]:
        """What the plan is given, as artifacts; a model folder's files are hashed (once: the store remembers)."""
        return {
            identity: read_model_folder(given, self.model.task).as_checkpoint(store.remembered_hash)
            if isinstance(given, Path)
            else given
            for identity, given in self.given.items()
        }

    def to_json(self) -> dict[str, Any]:
        """What was planned, each setting with its source, as JSON values."""
        return {
            "model": self.model.name,
            "task": self.model.task,
            "seed": self.seed,
            "device": self.device,
            "budget": self.budget.limits(),
            "warnings": list(self.warnings),
            "steps": [
                {
                    "step": planned.name,
                    "id": planned.id,
                    "added": planned.added,
                    "inputs": dict(planned.inputs),
                    "settings": planned.settings(),
                }
                for planned in self.steps
            ],
        }


def step_key(planned: PlannedStep, inputs: Mapping[str, Artifact], plan: Plan, store: Store) -> str:
    """The sha256 of everything that the step's result depends on; `[budget]` only where the step chooses by it."""
    step = planned.step
    facts: dict[str, Any] = {
        "step": step.full_name,
        "version": step.version,
        "plugin": [planned.plugin.distribution, planned.plugin.version],
        "requires": {name: installed_version(name) for name in step.requires},
        "config": _config_by_content(planned.config, store),
        "inputs": {name: artifact.digest for name, artifact in inputs.items()},
        "seed": plan.seed,
        "task": plan.model.task,
        "trust_remote_code": plan.model.trust_remote_code,
        "device": plan.device,
    }
    if planned.metrics:
        facts["metrics"] = planned.metrics
    if step.measures:
        facts["machine"] = machine.identity(plan.device)
    if step.within_budget:
        facts["budget"] = plan.budget.limits()
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()


@functools.cache
def installed_version(import_name: str) -> str:
    """The version of the distribution that an import name belongs to; empty where it is not installed."""
    for distribution in _DISTRIBUTIONS.get(import_name, (import_name.replace("_", "-"),)):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    # The slow way, over every installed package: for import names that differ from their distribution's.
    owners = metadata.packages_distributions().get(import_name, [])
    return metadata.version(owners[0]) if owners else ""


def _config_by_content(config: StepConfig, store: Store) -> dict[str, Any]:
    """The settings as JSON, each path replaced by the hash of what is there."""
    values = config.model_dump(mode="json")
    for name, marker in input_paths(type(config)):
        if marker.model:
            values[name] = None  # it is an input, and in the key as such
        elif isinstance(value := values.get(name), str) and not value.startswith(HUB):
            values[name] = _content(Path(value), store)
    return values


def _content(path: Path, store: Store) -> Any:
    try:
        if path.is_dir():
            return {
                file.relative_to(path).as_posix(): asdict(store.remembered_hash(file)) for file in files_below(path)
            }
        # The suffix counts: it says how the bytes are read.
        return [path.suffix.lower(), store.remembered_hash(path).sha256]
    except FileNotFoundError:
        raise FtxError(f"{path} was there when the plan was made, and is gone", code=ExitCode.USER) from None
