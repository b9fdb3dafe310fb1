"""`quantize:auto`: what it leaves in fp32, and that it goes on where it was killed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx_plugins.quantize import auto, samples
from ftx_plugins.quantize.auto import Sensitivity, _rank
from ftx_plugins.quantize.config import AutoConfig
from ftx_plugins.quantize.subjects import TorchSubject


def config(**settings: Any) -> AutoConfig:
    rows = {"calibration_rows": 64, "choice_rows": 16, "held_out_rows": 32, "sensitivity_rows": 32}
    return AutoConfig(**{"calibration": "min-max", "smooth": 0.0, **rows, **settings})


@pytest.fixture
def inputs(tiny_checkpoint: Artifact, tiny_dataset: Artifact) -> dict[str, Artifact]:
    return {"model": tiny_checkpoint, "data": tiny_dataset}


def test_loose_limits_leave_nothing_out_and_every_layer_is_reported(
    inputs: dict[str, Artifact], make_context: Callable[..., Any]
) -> None:
    context = make_context("quantize:auto")
    metrics = auto.run(config(flip_rate=1.0, accuracy_drop=1.0), inputs, context)
    assert (metrics["excluded"], metrics["within_limits"]) == ([], True)
    assert len(metrics["searched"]) == 1
    assert len(metrics["sensitivity"]) == 17
    assert all(found["kl"] >= 0 for found in metrics["sensitivity"])
    assert context.meta["recipe"]["exclude"] == []


def test_as_few_layers_are_left_out_as_the_limits_allow(
    inputs: dict[str, Artifact], make_context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def losing_until_five(excluded: int, *rest: Any) -> auto.Loss:
        return auto.Loss(excluded, 0.0 if excluded >= 5 else 0.5, 0.0, 0.0)

    monkeypatch.setattr(auto, "_loss", losing_until_five)
    context = make_context("quantize:auto")
    metrics = auto.run(config(), inputs, context)
    ranked = [found["layer"] for found in metrics["sensitivity"]]
    assert metrics["excluded"] == ranked[:5] == context.meta["recipe"]["exclude"]
    assert [loss["excluded"] for loss in metrics["searched"]] == [0, 1, 2, 4, 5, 6, 8]
    assert metrics["layers"] == 14 - sum("_embeddings" not in layer for layer in ranked[:5])


def test_limits_that_cannot_be_met_keep_the_best_with_a_warning(
    inputs: dict[str, Artifact], make_context: Callable[..., Any], recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        auto, "_loss", lambda excluded, *rest: auto.Loss(excluded, 0.1 if excluded == 4 else 0.2, 0.0, 0.0)
    )
    metrics = auto.run(config(), inputs, make_context("quantize:auto"))
    assert len(metrics["excluded"]) == 4
    assert not metrics["within_limits"]
    assert "kept the nearest, 10.00%" in recorder.messages("warning")[-1]


def test_a_layer_measured_before_a_kill_is_not_measured_again(
    inputs: dict[str, Artifact], make_context: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = auto.run(config(flip_rate=1.0), inputs, make_context("quantize:auto"))
    sessions = TorchSubject.session
    allowed = 8

    def killed_in_time(self: TorchSubject, recipe: Any) -> Any:
        nonlocal allowed
        allowed -= 1
        if allowed < 0:
            raise KeyboardInterrupt
        return sessions(self, recipe)

    work = tmp_path / "work"
    monkeypatch.setattr(TorchSubject, "session", killed_in_time)
    with pytest.raises(KeyboardInterrupt):
        auto.run(config(flip_rate=1.0), inputs, make_context("quantize:auto", work=work))
    measured = json.loads((work / auto.SENSITIVITIES).read_text())
    assert 0 < len(measured) < 17
    # The reference, the choice with its own reference, and two of the held-out rows come on top of what is missing.
    allowed = 17 - len(measured) + 5
    resumed = auto.run(config(flip_rate=1.0), inputs, make_context("quantize:auto", work=work))
    assert resumed == whole


def test_layers_are_ranked_by_what_they_lose_for_each_parameter() -> None:
    wide, narrow, harmless = Sensitivity("wide", 4e-3, 4000), Sensitivity("narrow", 2e-3, 1000), Sensitivity("ok", 0, 9)
    assert _rank([harmless, wide, narrow]) == [narrow, wide, harmless]


def test_one_validation_row_is_too_few_to_hold_a_recipe_against(
    inputs: dict[str, Artifact], make_context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = samples.load_rows

    def cut(data: Any, split: str, **options: Any) -> samples.SplitRows:
        rows = read(data, split, **options)
        return replace(rows, texts=rows.texts[:1], labels=rows.labels[:1], rows=rows.rows[:1])

    monkeypatch.setattr(samples, "load_rows", cut)
    with pytest.raises(FtxError, match=r"too few rows(.|\n)*validation_size"):
        auto.run(config(), inputs, make_context("quantize:auto"))
