"""A store with runs in it, written by the store's own code; what the steps measured is made up."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftx.artifacts import Manifest
from ftx.hashing import hash_folder
from ftx.runs import RunRecord, save_plan
from ftx.scoreboard import as_json, rows_of
from ftx.store import KeyRecord, Store

LABELS = ["bad", "good <b>", "so|so"]
ROWS = 60
HOSTILE = '</script><script>window.hurt = 1</script><img src=x onerror="window.hurt = 2"> `it` | **is** 服务很好'
FLIPS = [
    {"variant": "onnx-int8", "row": "3", "text": HOSTILE, "label": "bad", "before": "bad", "after": "good <b>"},
    {"variant": "openvino-int8", "row": "3", "text": HOSTILE, "label": "bad", "before": "bad", "after": "good <b>"},
    {"variant": "onnx-int8", "row": "9", "text": "a fine day", "label": "so|so", "before": "bad", "after": "so|so"},
    {"variant": "onnx-int8", "row": "11", "text": "w" * 500, "label": "so|so", "before": "bad", "after": "good <b>"},
]
MARGINS = {"margin_before": "0.2", "margin_after": "0.1"}


def model(
    variant: str | None, accuracy: float, *, change: float = 0.0, reach: float = 0.02, **more: Any
) -> dict[str, Any]:
    """One of an evaluation's models, `change` of accuracy from the reference, give or take `reach`."""
    low, high = change - reach, change + reach
    difference = {"difference": change, "interval": [low, high]}
    verdict = "worse" if high < 0 else "better" if low > 0 else "cannot tell"
    slices = [
        {"slice": name, "rows": 20, "accuracy": accuracy, "interval": [accuracy - 0.1, accuracy + 0.1], "flips": 1}
        | {"change": change, "change_interval": [low, high]}
        for name in ("3-8", "9-20")
    ]
    return {
        "variant": variant,
        "quantized": variant is not None and variant.endswith("int8"),
        "accuracy": accuracy,
        "f1_macro": accuracy,
        "f1_micro": accuracy,
        "flips": 3,
        "flip_rate": 0.05,
        "p50_ms": 4.0,
        "p95_ms": 6.0,
        "rows_per_second": 400.0,
        "size_mb": 23.0,
        "batch_flip_rate": 0.0,
        "batch_invariant": True,
        "temperature": 1.4,
        "ece": 0.03,
        "ece_unscaled": 0.09,
        "intervals": {
            "accuracy": [accuracy - 0.05, accuracy + 0.05],
            "f1_macro": [accuracy - 0.05, accuracy + 0.05],
            "flip_rate": [0.01, 0.1],
            "ece": [0.01, 0.06],
            "ece_unscaled": [0.05, 0.12],
        },
        "classes": [each | {"slice": name} for each, name in zip([*slices, slices[0]], LABELS, strict=True)],
        "lengths": slices,
        "against_reference": {
            "accuracy": difference,
            "f1_macro": difference,
            "mcnemar": {"only_first": 2, "only_second": 1, "p_value": 0.7},
            "verdict": verdict,
            "rows_needed": 900,
        },
    } | more


def of_reference(variant: str | None = None, **more: Any) -> dict[str, Any]:
    """The reference's own figures: larger, slower, and compared with nothing."""
    found = model(variant, 0.8, flips=0, flip_rate=0.0, size_mb=90.0, rows_per_second=200.0, p95_ms=12.0)
    del found["against_reference"]
    return found | more


def evaluation(split: str, *models: Mapping[str, Any], is_reference: bool = False) -> dict[str, Any]:
    return {"split": split, "rows": ROWS, "labels": LABELS, "is_reference": is_reference, "models": list(models)}


def figure(value: float) -> dict[str, float]:
    return {"value": value, "low": 0.9 * value, "high": 1.2 * value}


def candidate(variant: str, rate: float) -> dict[str, Any]:
    return {
        "variant": variant,
        "runtime": variant.partition("-")[0],
        "threads": 2,
        "p95_ms": figure(1000 / rate),
        "rows_per_second": figure(rate),
        "to_fp32": figure(2.0),
        "rounds": 5,
        "given_up": variant == "onnx-int8",
    }


STEPS: dict[str, dict[str, Any]] = {
    "data:clean": {
        "rows": {"read": 200, "kept": 190, "duplicates_exact": 10},
        "splits": {"train": 130, "test": ROWS},
        "classes": {
            "train": {"bad": 60, "good <b>": 40, "so|so": 30},
            "test": {"bad": 20, "good <b>": 20, "so|so": 20},
        },
        "tokens": {"p50": 9, "p95": 20, "max": 40, "longer_than_model_limit": 0, "model_limit": 64},
    },
    "train:finetune": {
        "gap": 0.1,
        "best_epoch": 2,
        "rows": 130,
        "history": [
            {"epoch": 1, "train_loss": 1.1, "eval_loss": 0.9, "accuracy": 0.7, "f1_macro": 0.69},
            {"epoch": 2, "train_loss": 0.6, "eval_loss": 0.7, "accuracy": 0.8, "f1_macro": 0.79},
        ],
    },
    "evaluate:validation": evaluation("validation", of_reference(), is_reference=True),
    "prune:structured": {
        "flops_share": 0.5,
        "layers": [0, 1],
        "heads": {"before": [12, 12], "after": [6, 3]},
        "ffn_widths": {"before": [1536, 1536], "after": [768, 96]},
    },
    "quantize:auto": {
        "excluded": ["encoder.layer.1"],
        "flip_rate": 0.01,
        "sensitivity": [
            {"layer": "encoder.layer.0.output", "kl": 1e-5, "parameters": 512},
            {"layer": "encoder.layer.1.output", "kl": 3e-2, "parameters": 512},
        ],
    },
    "choose:fastest": {
        "choice": {"variant": "openvino-int8", "runtime": "openvino", "threads": 2},
        "prefer": "throughput",
        "texts": 40,
        "mean_tokens": 12.5,
        "candidates": [candidate("openvino-int8", 400.0), candidate("onnx-int8", 300.0)],
        "skipped": [],
        "refused": {"onnx-int8": "slower than fp32"},
    },
    "evaluate:test": evaluation(
        "test",
        of_reference(step="reference"),
        model("onnx-int8", 0.79, change=-0.01),
        model("openvino-int8", 0.79, change=-0.01),
    ),
}
KINDS = {"data": "dataset", "evaluate": "evaluation", "choose": "bundle"}


def write_run(
    store: Store,
    identity: str,
    steps: Mapping[str, Mapping[str, Any]] = STEPS,
    *,
    status: str = "done",
    error: dict[str, Any] | None = None,
    budget: Mapping[str, float] | None = None,
    epochs: int = 2,
) -> RunRecord:
    """A run whose steps measured `steps`, with an artifact for each."""
    store.create()
    record = RunRecord(identity, ("train", "quantize", "export"), None, "2026-01-02T03:04:05+00:00", status=status)
    record.finished, record.error = "2026-01-02T03:09:05+00:00", error
    inputs: dict[str, str] = {}
    for name, metrics in steps.items():
        stage = name.partition(":")[0]
        kind = KINDS.get(stage, "checkpoint")
        digest = _artifact(store, identity, name, kind, metrics, inputs)
        inputs = {**inputs, "data" if kind == "dataset" else stage if kind == "evaluation" else "model": digest}
        described = {"digest": digest, "kind": kind, "path": str(store.objects / digest)}
        record.steps.append(
            {"step": name, "key": "0" * 64, "cached": False, "seconds": 1.5, "artifact": described}
            | {"metrics": metrics, "warnings": ["mind <this>"] if stage == "train" else []}
        )
        if kind == "evaluation":
            record.scoreboard += as_json(
                rows_of("train:finetune" if metrics["is_reference"] else "choose:fastest", metrics)
            )
        elif kind != "dataset":
            record.artifact = described
    record.save(store)
    settings = {"epochs": {"value": epochs, "source": "--set"}, "batch_size": {"value": 8, "source": "default"}}
    planned = [{"step": name, "id": name, "added": False, "inputs": {}, "settings": settings} for name in steps]
    machine = {"processor": "Any [avx2]", "cores": 2, "device": "cpu"}
    plan = {"model": "tiny", "seed": 0, "device": "cpu", "budget": dict(budget or {}), "steps": planned}
    save_plan(store, identity, plan | {"machine": machine})
    return record


def _artifact(
    store: Store, run: str, step: str, kind: str, metrics: Mapping[str, Any], inputs: Mapping[str, str]
) -> str:
    out, _ = store.prepare(f"{run}-{step}")
    (out / "made.txt").write_text("rows" if kind == "dataset" else f"{run} {step}", encoding="utf-8")
    if kind == "evaluation":
        _rows_of_an_evaluation(out, metrics)
    # An evaluation's model is what was made before it; the data set is the same for all.
    of_model = {name: digest for name, digest in inputs.items() if name in ("data", "model")}
    manifest = Manifest(kind, hash_folder(out), {}, metrics, step, inputs=of_model, created="2026-01-02T03:04:05+00:00")
    record = KeyRecord(f"{run}-{step}", step, manifest.digest, metrics)
    return store.publish(out, manifest, record).digest


def _rows_of_an_evaluation(out: Path, metrics: Mapping[str, Any]) -> None:
    """Logits that are right on all rows but each fifth, and the changed rows."""
    labels = np.arange(ROWS) % len(LABELS)
    logits = np.full((ROWS, len(LABELS)), -1.0, dtype=np.float32)
    predicted = np.where(np.arange(ROWS) % 5 == 0, (labels + 1) % len(LABELS), labels)
    logits[np.arange(ROWS), predicted] = np.linspace(0.0, 3.0, ROWS)
    names = [each.get("step") or each["variant"] or "torch" for each in metrics["models"]]
    np.savez(out / "logits.npz", row=np.arange(ROWS), label=labels, **dict.fromkeys(names, logits))
    with (out / "flips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*FLIPS[0], *MARGINS])
        writer.writeheader()
        writer.writerows({**flip, **MARGINS} for flip in FLIPS if metrics["split"] == "test")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / ".ftx")


@dataclass(frozen=True)
class Runs:
    """What a test needs to write runs into its store."""

    store: Store
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: STEPS)
    hostile: str = HOSTILE

    def write(self, identity: str = "20260102-030405-00000", steps: Any = STEPS, **options: Any) -> RunRecord:
        return write_run(self.store, identity, steps, **options)

    def ending_with(self, **outcome: Any) -> dict[str, Mapping[str, Any]]:
        """The steps, with these figures for what the test split finds of the chosen variant."""
        tested = evaluation("test", of_reference(step="reference"), model("openvino-int8", **outcome))
        return {**STEPS, "evaluate:test": tested}


@pytest.fixture
def runs(store: Store) -> Runs:
    return Runs(store)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two runs, as a file: written once, since it is only looked at."""
    from ftx_plugins.report.page import render

    folder = tmp_path_factory.mktemp("report")
    store = Store(folder / ".ftx")
    records = [write_run(store, "20260102-030405-00000"), write_run(store, "20260102-030406-00000")]
    (folder / "report.html").write_text(render(records, store), encoding="utf-8")
    return folder / "report.html"


@pytest.fixture
def page(store: Store) -> Callable[..., str]:
    """`page(record, …)`: the HTML of these runs, all on one line."""
    from ftx_plugins.report.page import render

    return lambda *records: " ".join(render(records, store).split())
