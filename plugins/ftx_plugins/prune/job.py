"""What the steps that remove parts of the encoder have in common: open, remove, recover, save, report."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ftx import Artifact, Context, FtxError
from ftx_plugins.checkpoint import LoadedCheckpoint, load_checkpoint, quiet_transformers, read_model, save_successor
from ftx_plugins.distillation import Course, distill
from ftx_plugins.ensemble import refuse_ensemble
from ftx_plugins.prune.anatomy import Anatomy, dissect
from ftx_plugins.prune.calibration import Calibration, accuracy_on, read_calibration
from ftx_plugins.prune.config import RecoveryConfig
from ftx_plugins.prune.costs import encoder_operations
from ftx_plugins.prune.surgery import settle


@dataclass
class Job:
    """A model that is being pruned. `layers[i]` is the place in the model given of what is now layer i."""

    source: Artifact
    data: Artifact
    config: RecoveryConfig
    context: Context
    loaded: LoadedCheckpoint
    anatomy: Anatomy
    calibration: Calibration
    before: Mapping[str, Any]
    layers: list[int]
    started: float = field(default_factory=time.monotonic)

    def operations(self) -> float:
        """Operations of the encoder as it is, at the calibration rows' mean length."""
        return encoder_operations(self.anatomy, self.calibration.mean_length)

    def save(self, stage: str, **facts: Any) -> None:
        """Keep the model as it is under the work folder, with `facts` (JSON values): all of it, or nothing."""
        settle(self.anatomy)
        folder = self.context.work / stage
        draft = self.context.work / f"{stage}.tmp"
        shutil.rmtree(draft, ignore_errors=True)
        with quiet_transformers():
            self.loaded.model.save_pretrained(draft)
        (draft / "facts.json").write_text(json.dumps({"layers": self.layers, **facts}), encoding="utf-8")
        draft.rename(folder)

    def restore(self, stage: str) -> dict[str, Any] | None:
        """Take up the model that an earlier, killed run has kept under this name; returns its facts, None without."""
        folder = self.context.work / stage
        if not folder.is_dir():
            return None
        facts: dict[str, Any] = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        self.layers = facts.pop("layers")
        model, _ = read_model(folder, trust_remote_code=self.context.model.trust_remote_code)
        self.loaded.model = model.to(self.context.device).eval()
        self.anatomy = dissect(self.loaded.model, self.context.plugins.architectures())
        self.context.log(f"resumed behind {stage.replace('-', ' ')}")
        return facts

    def finish(self, **metrics: Any) -> dict[str, Any]:
        """Recover, save the checkpoint, and return the step's metrics, with `metrics` among them."""
        settle(self.anatomy)
        pruned = accuracy_on(self.loaded.model, self.calibration)
        removing = time.monotonic() - self.started
        trusted = self.context.model.trust_remote_code
        teacher = load_checkpoint(self.source.path, trust_remote_code=trusted, device=self.context.device).model
        recovery = distill(self.loaded, teacher, self.layers, self.data, _course(self.config), self.context)
        recovered = accuracy_on(self.loaded.model, self.calibration)
        save_successor(self.loaded, self.source, self.context)
        after = facts_of(self.anatomy, self.calibration)
        share = {name: after[name] / self.before[name] for name in ("flops", "parameters")}
        self.context.describe(
            heads=after["heads"], ffn_widths=after["ffn_widths"], flops_share=round(share["flops"], 4)
        )
        self.context.log(
            f"{share['flops']:.0%} of the operations, {share['parameters']:.0%} of the parameters; accuracy on the "
            f"calibration rows {self.before['accuracy']:.4f}, pruned {pruned:.4f}, recovered {recovered:.4f}"
        )
        return {
            "flops_share": round(share["flops"], 4),
            "parameters_share": round(share["parameters"], 4),
            "mean_length": round(self.calibration.mean_length, 2),
            "calibration_rows": len(self.calibration),
            "accuracy": {"before": self.before["accuracy"], "pruned": pruned, "recovered": recovered},
            "layers": self.layers,
            "heads": {"before": self.before["heads"], "after": after["heads"]},
            "ffn_widths": {"before": self.before["ffn_widths"], "after": after["ffn_widths"]},
            "recovery": recovery,
            "seconds_removing": round(removing, 2),
            "seconds_recovering": round(time.monotonic() - self.started - removing, 2),
            **metrics,
        }


def _course(config: RecoveryConfig) -> Course:
    return Course(
        name="recovery",
        rows=config.recovery_rows,
        epochs=config.recovery_epochs,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        rows_setting="prune.recovery_rows",
        rate_setting="prune.learning_rate",
    )


def start(config: RecoveryConfig, inputs: Mapping[str, Artifact], context: Context) -> Job:
    """Open the model, and read the calibration rows. `FtxError` for a model that cannot be pruned."""
    source, data = inputs["model"], inputs["data"]
    loaded = open_model(source, context)
    anatomy = dissect(loaded.model, context.plugins.architectures())
    calibration = read_calibration(data, loaded, config.calibration_rows, context)
    before = {**facts_of(anatomy, calibration), "accuracy": accuracy_on(loaded.model, calibration)}
    layers = list(range(len(anatomy.layers)))
    return Job(source, data, config, context, loaded, anatomy, calibration, before, layers)


def open_model(source: Artifact, context: Context) -> LoadedCheckpoint:
    """The checkpoint that is to be pruned.

    Raises `FtxError` if it is quantized, since its recipe was made for other weights, or an ensemble.
    """
    if source.meta.get("recipe"):
        raise FtxError(
            "this checkpoint is quantized: pruning it would void its recipe", "prune first: ftx run prune quantize"
        )
    loaded = load_checkpoint(source.path, trust_remote_code=context.model.trust_remote_code, device=context.device)
    refuse_ensemble(loaded.model.config, "pruned")
    return loaded


def facts_of(anatomy: Anatomy, calibration: Calibration) -> dict[str, Any]:
    """Operations, parameters, and the heads and FFN width of each layer."""
    return {
        "flops": encoder_operations(anatomy, calibration.mean_length),
        "parameters": sum(parameter.numel() for parameter in anatomy.model.parameters()),
        "heads": anatomy.heads(),
        "ffn_widths": anatomy.widths(),
    }
