"""What a report is made of: a run's record, its plan, and what is still in the store of the artifacts that it made."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ftx.artifacts import Artifact, Evaluation
from ftx.config import BudgetTable
from ftx.errors import FtxError
from ftx.runs import RunRecord, read_plan
from ftx.scoreboard import Row, model_name
from ftx.store import Store
from ftx.tasks import TEXT_CLASSIFICATION
from ftx_plugins.report.rows import KeptLogits, read_logits

Json = Mapping[str, Any]


@dataclass(frozen=True)
class StepDone:
    """One step of a run: what `run.json` says of it, and its artifact, None where the store no longer has it."""

    result: Json
    planned: Json
    """Of `plan.json`; empty for a run whose plan was not kept."""
    artifact: Artifact | None

    @property
    def name(self) -> str:
        return str(self.result["step"])

    @property
    def stage(self) -> str:
        return self.name.partition(":")[0]

    @property
    def metrics(self) -> Json:
        found: Json = self.result.get("metrics") or {}
        return found

    @property
    def digest(self) -> str | None:
        made = self.result.get("artifact")
        return str(made["digest"]) if made else None

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Field -> `{"value", "source"}`; without the plan, the source is not known."""
        if self.planned:
            return dict(self.planned["settings"])
        config = self.artifact.manifest.config if self.artifact else {}
        return {name: {"value": value, "source": ""} for name, value in config.items()}


@dataclass(frozen=True)
class Evaluated:
    """One evaluate step: the models that it measured, and the step that made them."""

    step: StepDone
    subject: str

    @property
    def split(self) -> str:
        return str(self.step.metrics["split"])

    @property
    def rows(self) -> int:
        return int(self.step.metrics["rows"])

    @property
    def labels(self) -> list[str]:
        return list(self.step.metrics.get("labels", ()))

    @property
    def models(self) -> Sequence[Json]:
        found: Sequence[Json] = self.step.metrics["models"]
        return found

    @property
    def evaluation(self) -> Evaluation | None:
        return self.step.artifact if isinstance(self.step.artifact, Evaluation) else None

    def model(self, name: str) -> Json | None:
        return next((model for model in self.models if model_name(model) == name), None)

    @cached_property
    def kept(self) -> KeptLogits:
        """What `logits.npz` holds, read once; nothing where the store no longer has it."""
        return read_logits(self.evaluation)

    @cached_property
    def flips(self) -> list[dict[str, str]]:
        """The rows of `flips.csv`; none where the store no longer has it."""
        path = self.evaluation.path / "flips.csv" if self.evaluation else None
        if path is None or not path.exists():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


@dataclass(frozen=True)
class RunSeen:
    """A run with all that a report shows of it."""

    record: RunRecord
    plan: Json
    steps: tuple[StepDone, ...]
    evaluated: tuple[Evaluated, ...]
    rows: tuple[Row, ...]
    budget: BudgetTable = field(default_factory=BudgetTable)

    @cached_property
    def final(self) -> Evaluated | None:
        """The evaluation that the headline is about: of the test split, or else the last one."""
        tests = [each for each in self.evaluated if each.split == "test"]
        return next(reversed(tests or list(self.evaluated)), None)

    @cached_property
    def reference(self) -> Json | None:
        """What the final evaluation compares with: the reference's figures on the same rows."""
        if self.final is None:
            return None
        beside = self.final.model("reference")
        if beside is not None:
            return beside
        of_split = (each for each in self.evaluated if each.split == self.final.split)
        return next((each.models[0] for each in of_split if each.step.metrics.get("is_reference")), None)

    @cached_property
    def outcome(self) -> Json | None:
        """What the run ends with: the chosen variant, or else the first that the final evaluation measured."""
        if self.final is None:
            return None
        own = [model for model in self.final.models if model_name(model) != "reference"] or list(self.final.models)
        chosen = self.choice.get("choice", {}).get("variant") if self.choice else None
        return next((model for model in own if model_name(model) == chosen), own[0])

    @cached_property
    def race(self) -> StepDone | None:
        """The step that measured the variants against each other, and chose."""
        return next((step for step in reversed(self.steps) if "candidates" in step.metrics), None)

    @property
    def choice(self) -> Json | None:
        """What it measured."""
        return self.race.metrics if self.race else None

    def of_stage(self, *stages: str) -> list[StepDone]:
        return [step for step in self.steps if step.stage in stages]


def gather(record: RunRecord, store: Store) -> RunSeen:
    """Read what `record` tells of. What the store has lost since is left out, not an error.

    Raises `FtxError` for a run of another task than text classification.
    """
    plan = read_plan(store, record.id)
    if (task := plan.get("task", TEXT_CLASSIFICATION)) != TEXT_CLASSIFICATION:
        raise FtxError(
            f"the run {record.id} is for {task}, and only {TEXT_CLASSIFICATION} can be reported",
            "see its figures: ftx show latest:evaluate",
        )
    return see(record, plan, lambda made: open_made(made, store))


def see(record: RunRecord, plan: Json, opened: Callable[[Json | None], Artifact | None]) -> RunSeen:
    """The run of `record` and `plan`, whatever its task; `opened` opens what the record says a step made."""
    planned = plan.get("steps", [])
    steps = tuple(
        StepDone(result, planned[place] if place < len(planned) else {}, opened(result.get("artifact")))
        for place, result in enumerate(record.steps)
    )
    rows = tuple(Row(**row) for row in record.scoreboard)
    budget = BudgetTable(**plan.get("budget", {}))
    return RunSeen(record, plan, steps, tuple(_evaluated(steps, rows)), rows, budget)


def read_json(artifact: Artifact | None, name: str) -> Json:
    """A JSON file of an artifact; empty where it is not there."""
    path = artifact.path / name if artifact else None
    if path is None or not path.is_file():
        return {}
    found: Json = json.loads(path.read_text(encoding="utf-8"))
    return found


def open_made(made: Json | None, store: Store) -> Artifact | None:
    """What a run's record says that a step made; None where the store no longer has it whole."""
    if not made or not (store.objects / made["digest"]).is_dir():
        return None
    try:
        return store.open(made["digest"])
    except FtxError:
        return None  # damaged: the record still tells what it was; `ftx cache verify` tells the rest


def _evaluated(steps: Sequence[StepDone], rows: Sequence[Row]) -> Iterator[Evaluated]:
    """The evaluate steps. The scoreboard has their rows in their order, and names the step that made each model."""
    place = 0
    for step in steps:
        if step.stage != "evaluate" or "models" not in step.metrics:
            continue
        own = rows[place : place + len(step.metrics["models"])]
        place += len(own)
        subjects = [row.step for row in own if row.step != "reference"]
        yield Evaluated(step, subjects[0] if subjects else step.name)
