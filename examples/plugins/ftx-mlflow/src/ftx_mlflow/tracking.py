"""One run of ftx as a run of MLflow."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlflow import MlflowClient

EXPERIMENT = "ftx"
STATUS = {"done": "FINISHED", "interrupted": "KILLED"}
"""How a run of ftx ended -> MLflow's word; all others FAILED."""
LONGEST_TAG = 5000
_NOT_IN_NAMES = re.compile(r"[^\w\-. /]")


@dataclass
class Tracked:
    """A run that MLflow knows."""

    client: MlflowClient
    id: str
    steps: int = 0
    """How many have finished."""
    bundle: Mapping[str, str] | None = field(default=None)
    """The newest bundle, as the observers are told of it."""

    @classmethod
    def start(cls, run: str, steps: Sequence[str]) -> Tracked:
        client = MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        experiment = client.get_experiment_by_name(name)
        experiment_id = experiment.experiment_id if experiment else client.create_experiment(name)
        made = client.create_run(experiment_id, run_name=run, tags={"ftx.run": run, "ftx.steps": " ".join(steps)})
        return cls(client, made.info.run_id)

    def finished(self, step: str, result: Mapping[str, Any]) -> None:
        """Log a step's figures; those of a hit too, so that every run is whole by itself."""
        self.steps += 1
        for name, value in figures(result["metrics"], step.replace(":", "/")):
            self.client.log_metric(self.id, name, value, step=self.steps)
        artifact = result.get("artifact") or {}
        facts = [f"key {result['key'][:12]}", "a hit" if result["cached"] else f"{result['seconds']} s"]
        if artifact:
            facts.append(f"{artifact['kind']} {artifact['digest'][:12]}")
        self.client.set_tag(self.id, f"ftx.step.{self.steps}.{_NOT_IN_NAMES.sub('/', step)}", ", ".join(facts))
        if artifact.get("kind") == "bundle":
            self.bundle = artifact

    def failed(self, step: str, error: str) -> None:
        self.client.set_tag(self.id, "ftx.error", f"{step}: {error}"[:LONGEST_TAG])

    def end(self, status: str) -> None:
        """Log the bundle's files, and close the run, also where they cannot be sent."""
        try:
            if self.bundle is not None:
                self.client.set_tag(self.id, "ftx.bundle", self.bundle["digest"])
                self.client.log_artifacts(self.id, self.bundle["path"], "bundle")
        finally:
            self.client.set_tag(self.id, "ftx.status", status)
            self.client.set_terminated(self.id, STATUS.get(status, "FAILED"))


def figures(metrics: Any, name: str) -> Iterator[tuple[str, float]]:
    """The numbers in a step's metrics, however nested, by path; of lists those of an evaluation's models alone."""
    if isinstance(metrics, bool):
        return
    if isinstance(metrics, int | float):
        yield _NOT_IN_NAMES.sub("_", name), float(metrics)
    elif isinstance(metrics, Mapping):
        for key, value in metrics.items():
            if key == "models" and isinstance(value, list):
                for model in value:
                    yield from figures(model, f"{name}/{model.get('step') or model.get('variant') or 'torch'}")
            else:
                yield from figures(value, f"{name}/{key}")
